#ifndef KG_SHADE_H
#define KG_SHADE_H
/*
 * An instance that is the shadow of another one (PROTOCOL.md rules 20-24): the proxy of a candidate in a process of its
 * own. Nothing it says goes further than its comparison, except reads while it warms up. It owns no names.
 */
#include "manager.h"
#include "shadow.h"

/* Manager: `live` is the instance's name; in a replay there is none, but all it ever asked is remembered. The strings
 * of `spec` are copied. NULL and a sentence. Its instance owns it from then on. */
kg_shade_t *kg_shade_new(const char *live, bool replay, const char *run_dir, const kg_shadow_spec_t *spec,
                         kg_error_t *err);
void kg_shade_free(kg_shade_t *s);
/* The candidate's own directory for data and run-time files. */
const char *kg_shade_dir(const kg_shade_t *s);
kg_shadow_t *kg_shade_comparison(kg_shade_t *s);
bool kg_shade_is_dead(const kg_shade_t *s); /* lane */

/* Manager: starts the candidate under the name `name`.shadow, up to ready. NULL and a sentence; `s` is freed then. */
kg_ctx_t *kg_shade_start(kg_kernel_t *k, const char *name, const char *file, const char *role, kg_doc_t *config,
                         kg_shade_t *s, kg_error_t *err);
int kg_shade_activate(kg_ctx_t *shade, kg_error_t *err);
/* Manager: the live one's messages come no more. */
void kg_shade_untap(kg_kernel_t *k, kg_ctx_t *shade);
/* Manager: what came of it. NULL and a sentence. */
kg_doc_t *kg_shade_report(kg_ctx_t *shade, kg_error_t *err);

/* Lane of the live one: its shadow is told that it got, or sent, m. */
void kg_tap(kg_ctx_t *live, const kg_msg_t *m, bool sent);
/* Lane of the shadow, before anything else: messages can be given to ctx. */
void kg_shade_begin(kg_ctx_t *ctx);
/* Lane of the shadow: true if this message of the candidate is none that the proxy passes on. */
bool kg_shade_takes(kg_ctx_t *ctx, const kg_msg_t *m);
/* Lane of the shadow: the candidate's process has gone. */
void kg_shade_died(kg_ctx_t *ctx, const char *how);

#endif
