/* private.h - this user's private directory, and the files with names in it. */
#ifndef ALTSEM_NAMES_PRIVATE_H
#define ALTSEM_NAMES_PRIVATE_H

/* Opens this user's private directory in a candidate, making it if `create`.  A descriptor, or -errno;
 * -EPERM: something is there, but it is not a directory that only we can use. */
int altsem_private_directory(const char *candidate, int create);
/* Runs `act` in the private directory of each candidate: until it says something else than -ENOENT,
 * or, if `create`, until it succeeds (0 or more) or says -EEXIST.  A candidate that has no such
 * directory, or cannot have one, is passed over.  Returns what the last `act` said; -EPERM as above. */
int altsem_in_directories(int create, int (*act)(int directory, void *what), void *what);
/* The name of a file in it: the prefix and `name` without leading slashes.  -EINVAL: no name, or one
 * with a slash; -ENAMETOOLONG. */
typedef struct {
    char text[256]; /* NAME_MAX and the end */
} altsem_file_name;
int altsem_file_name_of(const char *prefix, const char *name, altsem_file_name *file);
/* For altsem_in_directories, `file` being the text of its name: 0 if there is such a file, whatever
 * it is; removes it (-EBADMSG: it is no regular file). */
int altsem_private_there(int directory, void *file);
int altsem_private_remove(int directory, void *file);
/* Opens a regular file that is ours and closed to all others, not following a link, close-on-exec.
 * A descriptor, or -EBADMSG no regular file, -EPERM not ours alone, -ELOOP a link. */
int altsem_private_open(int directory, const char *file, int flags);

#endif
