#ifndef KUBE_HOST_H
#define KUBE_HOST_H
/* The machine a plugin runs on: its name, and files that pods may have had their hands in. Any thread; removing blocks
 * as long as the disk does. */
#include <stdbool.h>

/* The host's name in lower case, which its node has unless it was given another; "node" if there is none. */
enum { KUBE_HOST_NAME_SIZE = 256 };
char *kube_host_name(char buf[KUBE_HOST_NAME_SIZE]); /* returns buf */

/* Removes a file or a whole directory; of a link the link itself. Never goes into mounts: they are taken off. What
 * cannot be removed stays. */
void kube_remove_tree(const char *path);
/* The same, at most *budget entries, which is counted down; true: nothing is left to do. */
bool kube_remove_some(const char *path, unsigned *budget);

#endif
