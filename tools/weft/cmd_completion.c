#include <stdio.h>
#include <string.h>

#include "tools/weft/cmd.h"

/* Which files an argument or a flag's value is: all commands take files unless they list words. */
static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static void each_flag(const struct cmd *about, const char *format, FILE *out) {
    for (size_t i = 0; i < about->flag_count; i++)
        if (!about->flags[i].hidden) fprintf(out, format, about->flags[i].name);
    fprintf(out, format, "help");
}

/* What a word can be after `weft NAME`, space-separated. */
static void words_of(const struct cmd *about, FILE *out) {
    if (strcmp(about->name, "help") == 0)
        for (size_t i = 0; cmd_at(i); i++) fprintf(out, "%s ", cmd_at(i)->name);
    for (const char *const *word = about->words; word && *word; word++) fprintf(out, "%s ", *word);
}

/* ---- bash and zsh ----------------------------------------------------------------------------------- */

static void choices_of(const struct cmd *about, FILE *out) {
    for (size_t i = 0; i < about->flag_count; i++) {
        const weft_flag *flag = &about->flags[i];
        if (flag->type != WEFT_FLAG_ENUM || flag->hidden) continue;
        fprintf(out, "    %s:--%s%s", about->name, flag->name, flag->letter ? "" : ") choices='");
        if (flag->letter) fprintf(out, "|%s:-%c) choices='", about->name, flag->letter);
        for (const char *const *choice = flag->choices; *choice; choice++)
            fprintf(out, "%s ", *choice);
        fputs("' ;;\n", out);
    }
}

static void bash(FILE *out) {
    fputs(
        "# bash completion of weft:  source <(weft completion bash)\n"
        "_weft() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
        "    local flags= words= choices=\n"
        "    COMPREPLY=()\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        COMPREPLY=($(compgen -W '",
        out);
    for (size_t i = 0; cmd_at(i); i++) fprintf(out, "%s ", cmd_at(i)->name);
    fputs("' -- \"$word\"))\n"
          "        return\n"
          "    fi\n"
          "    case $command:$before in\n",
          out);
    for (size_t i = 0; cmd_at(i); i++) choices_of(cmd_at(i), out);
    fputs("    esac\n"
          "    if [ -n \"$choices\" ]; then\n"
          "        COMPREPLY=($(compgen -W \"$choices\" -- \"$word\"))\n"
          "        return\n"
          "    fi\n"
          "    case $command in\n",
          out);
    for (size_t i = 0; cmd_at(i); i++) {
        fprintf(out, "    %s) flags='", cmd_at(i)->name);
        each_flag(cmd_at(i), "--%s ", out);
        fputs("' words='", out);
        words_of(cmd_at(i), out);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n"
          "    case $word in\n"
          "    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")) ;;\n"
          "    *)\n"
          "        if [ -n \"$words\" ]; then\n"
          "            COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "        else\n"
          "            COMPREPLY=($(compgen -f -- \"$word\"))\n"
          "        fi ;;\n"
          "    esac\n"
          "}\n"
          "complete -o filenames -F _weft weft\n",
          out);
}

static void zsh(FILE *out) {
    fputs("#compdef weft\n"
          "# zsh completion of weft:  source <(weft completion zsh)\n"
          "autoload -Uz bashcompinit && bashcompinit\n",
          out);
    bash(out);
}

/* ---- fish ------------------------------------------------------------------------------------------- */

/* In single quotes, up to the first full stop. */
static void fish_text(const char *text, FILE *out) {
    fputc('\'', out);
    for (; text && *text && !(text[0] == '.' && (text[1] == ' ' || text[1] == '\0')); text++) {
        if (*text == '\'' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void fish_flag(const struct cmd *about, const weft_flag *flag, FILE *out) {
    fprintf(out, "complete -c weft -n '__fish_seen_subcommand_from %s' -l %s", about->name,
            flag->name);
    if (flag->letter) fprintf(out, " -s %c", flag->letter);
    if (flag->type == WEFT_FLAG_ENUM) {
        fputs(" -x -a '", out);
        for (const char *const *choice = flag->choices; *choice; choice++)
            fprintf(out, "%s ", *choice);
        fputc('\'', out);
    } else if (flag->type != WEFT_FLAG_BOOL) {
        fputs(" -r", out);
    }
    fputs(" -d ", out);
    fish_text(flag->help, out);
    fputc('\n', out);
}

static void fish(FILE *out) {
    fputs("# fish completion of weft:  weft completion fish | source\n", out);
    for (size_t i = 0; cmd_at(i); i++) {
        const struct cmd *about = cmd_at(i);
        fprintf(out, "complete -c weft -f -n __fish_use_subcommand -a %s -d ", about->name);
        fish_text(about->summary, out);
        fputc('\n', out);
        for (size_t f = 0; f < about->flag_count; f++)
            if (!about->flags[f].hidden) fish_flag(about, &about->flags[f], out);
        if (!about->words && strcmp(about->name, "help") != 0) continue;
        fprintf(out, "complete -c weft -f -n '__fish_seen_subcommand_from %s' -a '", about->name);
        words_of(about, out);
        fputs("'\n", out);
    }
}

/* ---- the command ------------------------------------------------------------------------------------ */

static int run(const cmd_args *in) {
    if (in->count != 1) return cmd_usage_error(in->cmd, "which shell: bash, zsh or fish?");
    if (strcmp(in->args[0], "bash") == 0)
        bash(stdout);
    else if (strcmp(in->args[0], "zsh") == 0)
        zsh(stdout);
    else if (strcmp(in->args[0], "fish") == 0)
        fish(stdout);
    else
        return cmd_usage_error(in->cmd, "no completion for \"%s\": bash, zsh or fish", in->args[0]);
    return EXIT_OK;
}

const struct cmd cmd_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "Print a script that completes commands and flags in a shell",
    .about = "Prints a script that completes the commands and flags of weft.",
    .more = "Examples:\n"
            "  source <(weft completion bash)\n"
            "  weft completion zsh > \"${fpath[1]}/_weft\"\n"
            "  weft completion fish > ~/.config/fish/completions/weft.fish\n",
    .words = shells,
    .run = run,
};
