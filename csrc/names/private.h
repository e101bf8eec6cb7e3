/* private.h - this user's private directory, and the files with names in it. */
#ifndef ALTSEM_NAMES_PRIVATE_H
#define ALTSEM_NAMES_PRIVATE_H

/* Opens this user's private directory in a candidate directory, and creates it if `create`.  A
 * descriptor, or -errno; -EPERM: what has the name is no directory that only this user can use. */
int altsem_private_directory(const char *candidate, int create);
/* The private directory of a candidate: a descriptor of it, and its path. */
typedef struct {
    int fd;
    const char *path;
} altsem_private;
typedef int (*altsem_private_callback)(const altsem_private *directory, void *argument);
/* Calls back with the private directory of each candidate, in order, until the callback returns
 * something else than -ENOENT; if `create`, until it succeeds (0 or more) or returns -EEXIST.
 * Skips a candidate that has no such directory, or cannot have one.  Returns what the last call
 * returned; -EPERM as above. */
int altsem_in_directories(int create, altsem_private_callback callback, void *argument);
/* The name of a file in it: the prefix and `name` without leading slashes.  -EINVAL: no name, or
 * one with a slash; -ENAMETOOLONG. */
typedef struct {
    char text[256]; /* NAME_MAX and the end */
} altsem_file_name;
int altsem_file_name_of(const char *prefix, const char *name, altsem_file_name *file);
/* Callbacks for altsem_in_directories; `file` is the name of a file.  0 if it exists, whatever it
 * is; removes it (-EBADMSG: it is no regular file). */
int altsem_private_exists(const altsem_private *directory, void *file);
int altsem_private_remove(const altsem_private *directory, void *file);
/* Opens a regular file that only this user can use, not following a symbolic link, close-on-exec.
 * A descriptor, or -EBADMSG no regular file, -EPERM others can use it, -ELOOP a symbolic link. */
int altsem_private_open(const altsem_private *directory, const char *file, int flags);
/* The same for a file of which the program has the descriptor, so that the mode is its own. */
int altsem_private_open_fd(const altsem_private *directory, const char *file, int flags);
/* Makes a file that is complete before it has its name.  `fill` puts into it, by its descriptor, what
 * belongs there: 0 or -errno; `undo`, which may be NULL, takes back what that did outside of the file.
 * Both may be called twice.  0, or -EEXIST: that name is taken. */
typedef struct {
    const char *file;
    int (*fill)(const altsem_private *directory, int fd, void *argument);
    void (*undo)(void *argument);
    void *argument;
} altsem_private_maker;
int altsem_private_make(const altsem_private *directory, const altsem_private_maker *maker);

#endif
