#ifndef KUBE_RUNTIME_H
#define KUBE_RUNTIME_H
/* What a container runtime leaves to its successor (plugins/contracts/runtime.md). Any thread. */
#include "kogge/error.h"
#include "kogge/view.h"

/* Whether a runtime of this kind goes on from the state that hand_over() gave. 1: it is of its like; 0: there is none,
 * or another kind's without pods; -1 with a sentence: pods are there that it cannot take over. */
int kube_runtime_takes(kg_view_t state, const char *kind, kg_error_t *err);

#endif
