#ifndef METRICS_H
#define METRICS_H
/*
 * metrics.k8s.io: what nodes and pods use, as the node agents read it when somebody asks. Nothing is kept.
 * One request is a question: the nodes or pods it is about come first, then the readings of the nodes involved.
 */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/client.h"
#include "kube/tree.h"
#include "kube/values.h"

typedef struct question {
  kg_msg_t *request;
  bool pods, one; /* else nodes; one: by its name */
  kg_doc_t **objects;
  size_t nobjects;
  kg_doc_t **readings; /* node.stats of each node that answered */
  size_t nreadings, waiting;
} question_t;

/* answer.c: answers from what has come together. */
void question_answer(kg_ctx_t *ctx, const question_t *q);

#endif
