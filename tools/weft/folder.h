/* Folders and files of the commands that keep something on disk. */
#ifndef TOOLS_WEFT_FOLDER_H
#define TOOLS_WEFT_FOLDER_H

#include <stddef.h>
#include <sys/types.h>

/* mkdir -p, new folders owner-only. 0 or a positive errno. */
int folder_make(const char *path) __attribute__((warn_unused_result));

/* Writes a file whole or not at all, by renaming one beside it ("<path>.part"). 0 or a positive errno. */
int folder_write_file(const char *path, const void *data, size_t size, mode_t mode)
    __attribute__((warn_unused_result));

/* Removes the files of a folder, not its folders, then the folder if that left it empty. */
void folder_remove(const char *path);

#endif
