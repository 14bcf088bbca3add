#ifndef GATEWAY_HUB_H
#define GATEWAY_HUB_H
/*
 * Hubs: all who watch the same (resource, namespace, selectors) in the same form share one stream of the api role. An
 * event is encoded once, together with its neighbours, into a segment of about one TLS record that all connections
 * send; a watcher is no more than a place in the row of segments. One that falls behind the row is told so and has to
 * catch up by a stream of its own. Lane thread only.
 */
#include "gateway.h"

typedef struct gw_hub gw_hub_t;
typedef struct gw_sub gw_sub_t;
struct gw_sub {  /* a watcher's part, zeroed at first; belongs to the watcher */
  gw_hub_t *hub; /* NULL: in none */
  gw_sub_t *prev, *next;
  gw_ex_t *ex;
  uint64_t at;   /* the segment it takes next */
  int64_t after; /* it has got all up to this revision */
  bool joining;  /* waits for the first event after `after` */
  bool bookmarks;
  void (*lost)(gw_sub_t *s);                     /* too far behind: it has left the hub, go on from `after` */
  void (*ended)(gw_sub_t *s, const kg_msg_t *m); /* the api role ended the stream; it has left the hub. May free it */
};

/* Takes part in what `what` (arguments of api.watch without a revision and a user; borrowed) shows after a revision.
 * -1: out of memory. */
int gw_hub_join(gw_sub_t *s, kg_doc_t *what, int64_t after);
void gw_hub_leave(gw_sub_t *s);
/* Queues what is there for it, as far as its connection's backlog allows. */
void gw_hub_feed(gw_sub_t *s);

/* watch.c: appends an event as it goes out. False: the object has no such form. */
bool gw_event_text(kube_buf_t *b, const char *type, gw_form_t form, bool protobuf, kg_view_t object);
int64_t gw_event_rev(kg_view_t args); /* of an item of api.watch */

#endif
