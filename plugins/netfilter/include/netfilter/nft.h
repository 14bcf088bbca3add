#ifndef NETFILTER_NFT_H
#define NETFILTER_NFT_H
/* The program nft, and whether what it wrote is still there. */
#include <stddef.h>
#include <sys/types.h>

#include "kogge/plugin.h"

/* Starts `nft -f -` over n bytes of rules. What it says goes to *out, a file of memory that the caller reads with
 * pread() and closes. The child's id, for the caller to wait for; or -1 with errno, and *out -1. Any thread. */
pid_t nft_spawn(const char *rules, size_t n, int *out);

/* Somebody flushed the rules of this machine (`systemctl restart nftables` does): what the plugin wrote is gone. */
typedef void (*nft_lost_fn)(kg_ctx_t *ctx, void *self);

/* Calls `lost` each time when, some time after somebody changed rules of this machine, chain `chain` of `table` (family
 * ip) has none. Costs nothing while nobody changes rules. NULL with err. Lane thread. */
typedef struct nft_watch nft_watch_t;
nft_watch_t *nft_watch(kg_ctx_t *ctx, const char *table, const char *chain, nft_lost_fn lost, kg_error_t *err);
void nft_unwatch(nft_watch_t *w); /* NULL is allowed */

#endif
