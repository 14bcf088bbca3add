#ifndef KOGGE_API_PODSECURITY_H
#define KOGGE_API_PODSECURITY_H
/* The Pod Security Standards: what a level asks of a pod, in the words of Kubernetes' admission plugin. */
#include "api.h"

typedef enum { PS_PRIVILEGED, PS_BASELINE, PS_RESTRICTED } ps_level_t;
enum { PS_LATEST = 1 << 20 }; /* as a minor version */

/* What of a pod's spec (a template's as well) the level forbids, as of 1.MINOR: "reason (detail), ...", or the reasons
 * alone; NULL: nothing. The text is the arena's. */
const char *ps_violations(kube_arena_t *a, ps_level_t level, int minor, const kube_node_t *spec, bool details);
#endif
