#ifndef KUBE_NFT_H
#define KUBE_NFT_H
/* The program nft, for the roles of a node that write its rules. Any thread. */
#include <stddef.h>
#include <sys/types.h>

/* Starts `nft -f -` over n bytes of rules. What it says goes to *out, a file of memory that the caller reads with
 * pread() and closes. The child's id, for the caller to wait for; or -1 with errno, and *out -1. */
pid_t kube_nft_spawn(const char *rules, size_t n, int *out);

#endif
