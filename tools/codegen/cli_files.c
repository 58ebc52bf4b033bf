#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/codegen/cg.h"
#include "tools/codegen/cli.h"

void cli_add(cli *c, cli_names *names, const char *name) {
    if (names->count == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 16;
        const char **bigger = cg_alloc(c->arena, cap, sizeof(*bigger));
        if (names->count) memcpy(bigger, names->items, names->count * sizeof(*bigger));
        names->items = bigger;
        names->cap = cap;
    }
    names->items[names->count++] = name;
}

const char *cli_join(cli *c, const char *folder, const char *name) {
    if (strcmp(folder, ".") == 0 || !*folder) return name;
    size_t len = strlen(folder);
    return cg_printf(c->arena, "%s%s%s", folder, folder[len - 1] == '/' ? "" : "/", name);
}

static int problem(cli *c, int code, const char *file, const char *hint, const char *text) {
    weft_diag_add(&c->errors, file, 0, 0, NULL, hint, "%s", text);
    return code;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool ends_with(const char *text, const char *ending) {
    size_t len = strlen(text), n = strlen(ending);
    return len >= n && strcmp(text + len - n, ending) == 0;
}

/* ---- walking --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void walk(cli *c, const char *folder, const char *ending, size_t max, unsigned depth,
                 cli_names *found) {
    DIR *dir = depth < 64 ? opendir(folder) : NULL;
    if (!dir) return;
    struct dirent *entry;
    while (found->count < max && (entry = readdir(dir))) {
        struct stat st;
        const char *path = cli_join(c, folder, cg_strdup(c->arena, entry->d_name));
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && entry->d_name[0] != '.')
            walk(c, path, ending, max, depth + 1, found);
        else if (ends_with(entry->d_name, ending) && is_file(path))
            cli_add(c, found, path);
    }
    closedir(dir);
}

void cli_walk(cli *c, const char *folder, const char *ending, size_t max, cli_names *found) {
    walk(c, folder, ending, max, 0, found);
    if (found->count) qsort(found->items, found->count, sizeof(*found->items), by_name);
}

/* ---- inputs ---------------------------------------------------------------------------------- */

int cli_find_roots(cli *c) {
    for (size_t i = 0; i < c->imports.count; i++) {
        const char *root = c->imports.items[i];
        if (!is_folder(root))
            return problem(c, 2, root, "-I takes an existing folder", "no such folder");
        size_t len = strlen(root);
        while (len > 1 && root[len - 1] == '/') len--;
        cli_add(c, &c->roots, cg_strndup(c->arena, root, len));
    }
    return 0;
}

/* The path of `file` below `root`, both as they really are; NULL when it is not. */
static const char *below(cli *c, const char *root, const char *file) {
    char real_root[PATH_MAX], real_file[PATH_MAX];
    if (!realpath(root, real_root) || !realpath(file, real_file)) return NULL;
    size_t len = strlen(real_root);
    if (strcmp(real_root, "/") == 0) len = 0;
    if (strncmp(real_file, real_root, len) != 0 || real_file[len] != '/') return NULL;
    return cg_strdup(c->arena, real_file + len + 1);
}

/* protoc wants an input to begin with the very text of an import folder. */
static int add_input(cli *c, const char *file) {
    for (size_t i = 0; i < c->roots.count; i++) {
        const char *name = below(c, c->roots.items[i], file);
        if (!name) continue;
        const char *root = c->roots.items[i];
        cli_add(c, &c->inputs,
                cg_printf(c->arena, "%s%s%s", root, strcmp(root, "/") == 0 ? "" : "/", name));
        return 0;
    }
    return problem(c, 2, file, "add -I with the folder that its name in imports begins below",
                   "is below none of the -I folders");
}

static int missing_input(cli *c, const char *file) {
    char *folder = cg_strdup(c->arena, file);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    cli_names near = {0};
    if (!slash || is_folder(folder)) cli_walk(c, slash ? folder : ".", ".proto", 2000, &near);
    const char *guess = cli_suggest_file(c, file, &near);
    return problem(c, 2, file, guess ? cg_printf(c->arena, "did you mean %s?", guess) : NULL,
                   "no such file or folder");
}

int cli_find_inputs(cli *c, const char *const *args, size_t count) {
    bool guess = c->roots.count == 0;
    for (size_t i = 0; i < count && guess; i++)
        if (is_folder(args[i])) cli_add(c, &c->roots, args[i]);
    if (c->roots.count == 0) cli_add(c, &c->roots, ".");
    for (size_t i = 0; i < count; i++) {
        int rc = 0;
        if (is_folder(args[i])) {
            cli_names found = {0};
            cli_walk(c, args[i], ".proto", SIZE_MAX, &found);
            if (!found.count) rc = problem(c, 2, args[i], NULL, "no .proto file in this folder");
            for (size_t k = 0; k < found.count && !rc; k++) rc = add_input(c, found.items[k]);
        } else if (is_file(args[i])) {
            rc = add_input(c, args[i]);
        } else {
            rc = missing_input(c, args[i]);
        }
        if (rc) return rc;
    }
    /* The same file given twice is one input. */
    qsort(c->inputs.items, c->inputs.count, sizeof(*c->inputs.items), by_name);
    size_t kept = 0;
    for (size_t i = 0; i < c->inputs.count; i++)
        if (!kept || strcmp(c->inputs.items[kept - 1], c->inputs.items[i]) != 0)
            c->inputs.items[kept++] = c->inputs.items[i];
    c->inputs.count = kept;
    return 0;
}

/* ---- the temporary folder -------------------------------------------------------------------- */

static int failed(cli *c, const char *what, const char *path) {
    return problem(c, 1, path, NULL, cg_printf(c->arena, "cannot %s: %s", what, strerror(errno)));
}

/* In the nearest folder above the output that exists: on the same file system, and nothing is
 * made that a failure would leave behind. */
int cli_make_temp(cli *c) {
    char *anchor = cg_strdup(c->arena, c->out);
    while (!is_folder(anchor)) {
        struct stat st;
        if (stat(anchor, &st) == 0)
            return problem(c, 2, anchor, "--out takes a folder", "is not a folder");
        char *slash = strrchr(anchor, '/');
        if (!slash) {
            anchor = cg_strdup(c->arena, ".");
            break;
        }
        if (slash == anchor)
            slash[1] = '\0';
        else
            *slash = '\0';
    }
    c->anchor = anchor;
    char *temp = cg_printf(c->arena, "%s/.weft-gen-XXXXXX", anchor);
    if (!mkdtemp(temp)) return failed(c, "make a folder in it", anchor);
    c->temp = temp;
    return 0;
}

static void remove_tree(cli *c, const char *folder, unsigned depth) {
    DIR *dir = depth < 64 ? opendir(folder) : NULL;
    if (!dir) return;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        const char *path = cli_join(c, folder, cg_strdup(c->arena, entry->d_name));
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            remove_tree(c, path, depth + 1);
        else
            unlink(path);
    }
    closedir(dir);
    rmdir(folder);
}

void cli_remove_temp(cli *c) {
    if (c->temp) remove_tree(c, c->temp, 0);
    c->temp = NULL;
}

/* ---- what changed ---------------------------------------------------------------------------- */

static int same_content(cli *c, const char *a, const char *b, bool *same) {
    weft_buf left, right;
    weft_buf_init(&left, 0);
    weft_buf_init(&right, 0);
    int rc = 0;
    *same = false;
    if (weft_buf_read_file(&left, a))
        rc = failed(c, "read it", a);
    else if (is_file(b))
        *same = weft_buf_read_file(&right, b) == 0 && left.len == right.len &&
                memcmp(weft_buf_str(&left), weft_buf_str(&right), left.len) == 0;
    weft_buf_free(&left);
    weft_buf_free(&right);
    return rc;
}

static int add_output(cli *c, const char *from, const char *to) {
    if (c->output_count == c->output_cap) {
        size_t cap = c->output_cap ? c->output_cap * 2 : 16;
        cli_output *bigger = cg_alloc(c->arena, cap, sizeof(*bigger));
        if (c->output_count) memcpy(bigger, c->outputs, c->output_count * sizeof(*bigger));
        c->outputs = bigger;
        c->output_cap = cap;
    }
    bool same;
    int rc = same_content(c, from, to, &same);
    c->outputs[c->output_count++] = (cli_output){from, to, !same};
    return rc;
}

int cli_compare(cli *c) {
    cli_names made = {0};
    const char *code = cli_join(c, c->temp, "code");
    cli_walk(c, code, "", SIZE_MAX, &made);
    int rc = 0;
    for (size_t i = 0; i < made.count && !rc; i++)
        rc = add_output(c, made.items[i], cli_join(c, c->out, made.items[i] + strlen(code) + 1));
    if (!rc && c->descriptor_set)
        rc = add_output(c, cli_join(c, c->temp, "set"), c->descriptor_set);
    return rc;
}

static int make_folders(cli *c, const char *file) {
    char *path = cg_strdup(c->arena, file);
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(path, 0777) < 0 && errno != EEXIST) return failed(c, "make this folder", path);
        if (!is_folder(path)) return problem(c, 1, path, NULL, "is in the way of a folder");
        *p = '/';
    }
    return 0;
}

/* rename, or a copy beside it and rename where the file system is another (--descriptor-set). */
static int move_file(cli *c, const char *from, const char *to) {
    if (is_folder(to)) return problem(c, 1, to, NULL, "is a folder in the way of a file");
    if (rename(from, to) == 0) return 0;
    if (errno != EXDEV) return failed(c, "write it", to);
    weft_buf content;
    weft_buf_init(&content, 0);
    const char *beside = cg_printf(c->arena, "%s.tmp", to);
    int rc = weft_buf_read_file(&content, from) ? failed(c, "read it", from) : 0;
    FILE *file = rc ? NULL : fopen(beside, "wb");
    if (!rc && !file) rc = failed(c, "write it", beside);
    if (file) {
        bool good = fwrite(weft_buf_str(&content), 1, content.len, file) == content.len;
        if (fclose(file) != 0 || !good || rename(beside, to) < 0) rc = failed(c, "write it", to);
    }
    weft_buf_free(&content);
    return rc;
}

int cli_move(cli *c) {
    for (size_t i = 0; i < c->output_count; i++) {
        int rc = c->outputs[i].changed ? make_folders(c, c->outputs[i].to) : 0;
        if (rc) return rc;
    }
    for (size_t i = 0; i < c->output_count; i++) {
        int rc = c->outputs[i].changed ? move_file(c, c->outputs[i].from, c->outputs[i].to) : 0;
        if (rc) return rc;
    }
    return 0;
}
