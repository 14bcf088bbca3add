/* Messages between the kernel and the host of a plugin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "make.h"
#include "registry.h"
#include "remote_internal.h"
#include "shade.h"

#define BATCH 32    /* the other side has something to do while these are worked off */
#define ENOUGH 1024 /* messages that wait in the lane: more are left where they are */

/* A request of the host that is on its way through the kernel. */
typedef struct kg_relayed {
  uint64_t id, call; /* the host's number, ours */
} kg_relayed_t;

int kg_remote_send(kg_remote_t *r, const kg_msg_t *m, uint64_t id, kg_error_t *err) {
  if (!r->port.socket) return kg_error_set(err, KG_EUNAVAILABLE, "its process is not there");
  kg_port_unsent(r->ctx->lane, &r->port);
  return kg_wire_send(&r->wire, r->port.socket, m, id, r->ctx->lane->now_us / 1000, err);
}

void kg_remote_flush(kg_lane_t *lane, kg_port_t *port) {
  (void)lane;
  kg_remote_t *r = (kg_remote_t *)port;
  kg_error_t err = {0};
  port->more = true; /* sending may take the news of a message that has come */
  if (kg_wire_flush(&r->wire, port->socket, &err) < 0)
    kg_logf(r->k, KG_LOG_ERROR, r->name, "messages to its process are lost: %s", err.text);
}

/* --- to the host
 * --------------------------------------------------------------------------------------------------------------- */

static void forward_request(kg_lane_t *lane, kg_ctx_t *ctx, kg_parcel_t *p) {
  char text[330];
  kg_error_t err = {0};
  kg_count(&ctx->n.requests, 1);
  if (atomic_load(&ctx->state) == KG_STOPPED || !ctx->created) {
    kg_refuse(lane, p, KG_EUNAVAILABLE, "the plugin has just been stopped");
  } else if (!atomic_load_explicit(&ctx->remote->serving, memory_order_relaxed)) {
    snprintf(text, sizeof text, "plugin %s starts again after a crash", ctx->name);
    kg_refuse(lane, p, KG_EUNAVAILABLE, text);
  } else if (kg_served_add(ctx, p) < 0) {
    kg_refuse(lane, p, KG_EFULL, "out of memory");
  } else {
    int rc = kg_remote_send(ctx->remote, p->m, p->m->id, &err);
    if (rc > 0) kg_fail(ctx, p->m, KG_EFULL, "the process of plugin %s takes no more requests", ctx->name);
    if (rc < 0) kg_fail(ctx, p->m, KG_EUNAVAILABLE, "%s", err.text);
  }
}

static void forward(kg_ctx_t *ctx, const kg_msg_t *m, uint64_t id) {
  if (kg_remote_send(ctx->remote, m, id, NULL) == 0) return;
  kg_count(&ctx->n.dropped, 1);
}

void kg_remote_deliver(kg_lane_t *lane, kg_ctx_t *ctx, kg_parcel_t *p) {
  kg_msg_type_t type = kg_msg_type(p->m);
  if (type == KG_MSG_REQUEST) {
    forward_request(lane, ctx, p);
  } else if (type == KG_MSG_EVENT) {
    kg_count(&ctx->n.events, 1);
    if (atomic_load(&ctx->remote->serving)) forward(ctx, p->m, p->m->id);
  } else if (kg_from_requester(p->m)) {
    if (kg_served_up(ctx, p->m)) forward(ctx, p->m, p->m->id);
  } else {
    kg_call_answered(ctx, p);
  }
}

/* --- from the host
 * ------------------------------------------------------------------------------------------------------------- */

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  kg_relayed_t *relayed = arg;
  kg_msg_type_t type = kg_msg_type(m);
  uint64_t id = relayed->id;
  if (type == KG_MSG_REPLY || type == KG_MSG_ERROR || type == KG_MSG_END) {
    kg_table_remove(&ctx->remote->calls, id);
    free(relayed);
  }
  forward(ctx, m, id);
}

static void relay_request(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_relayed_t *relayed = kg_table_get(&ctx->remote->calls, m->id) ? NULL : calloc(1, sizeof *relayed);
  if (!relayed || kg_table_put(&ctx->remote->calls, m->id, relayed) < 0) {
    free(relayed);
    atomic_fetch_add(&ctx->k->refused, 1); /* an id that is in use, rule 2; or no memory, and its deadline tells */
    return;
  }
  int64_t left = m->deadline_ms - ctx->lane->now_us / 1000;
  relayed->id = m->id;
  relayed->call = kg_send(ctx, &(kg_request_t){.service = m->service,
                                               .topic = m->topic,
                                               .args = m->args,
                                               .docs = m->docs,
                                               .ndocs = m->ndocs,
                                               .timeout_ms = !m->deadline_ms ? -1
                                                             : left < 1      ? 1
                                                                             : left,
                                               .stream = kg_msg_stream(m),
                                               .credit = m->credit,
                                               .manual_credit = true,
                                               .fn = answered,
                                               .arg = relayed});
  kg_call_t *call = kg_table_get(&ctx->calls, relayed->call);
  if (call) call->relay = true;
}

static void relay_up(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_relayed_t *relayed = kg_table_get(&ctx->remote->calls, m->id);
  if (!relayed) return; /* it has ended meanwhile */
  switch (kg_msg_type(m)) {
  case KG_MSG_CANCEL:
    kg_cancel(ctx, relayed->call);
    kg_table_remove(&ctx->remote->calls, m->id);
    free(relayed);
    break;
  case KG_MSG_CREDIT:
    kg_credit(ctx, relayed->call, m->credit);
    break;
  case KG_MSG_ITEM:
    if (kg_call_item(ctx, relayed->call, m->args, m->docs, m->ndocs) < 0) atomic_fetch_add(&ctx->k->refused, 1);
    break;
  case KG_MSG_END:
    kg_call_end(ctx, relayed->call);
    break;
  default:
    atomic_fetch_add(&ctx->k->refused, 1);
  }
}

/* A host on another machine: the end of its last connection comes before what it says on a new one. */
void kg_remote_came_by(kg_remote_t *r, int fd) {
  if (fd < 0 || r->connection == fd) return;
  kg_remote_look_at_connection(r);
  r->connection = fd;
}

static void take(kg_ctx_t *ctx, kg_msg_t *m) {
  kg_msg_type_t type = kg_msg_type(m);
  if (strcmp(m->source, ctx->remote->name) != 0) {
    atomic_fetch_add(&ctx->k->refused, 1);
  } else if (ctx->shade && kg_shade_takes(ctx, m)) {
    return;
  } else if (type == KG_MSG_REQUEST) {
    relay_request(ctx, m);
  } else if (type == KG_MSG_EVENT) {
    if (strcmp(m->topic, "host.hello") == 0) kg_remote_look_at_connection(ctx->remote); /* the same number again */
    if (strncmp(m->topic, "host.", 5) == 0)
      kg_remote_said(ctx, m);
    else
      kg_route_event(ctx, m);
  } else if (kg_from_requester(m)) {
    relay_up(ctx, m);
  } else if (m->id < KG_FIRST_REQUEST_ID) {
    kg_remote_step_answered(ctx, m);
  } else {
    kg_served_relay(ctx, m);
  }
}

void kg_remote_receive(kg_lane_t *lane, kg_port_t *port) {
  kg_remote_t *r = (kg_remote_t *)port;
  kg_ctx_t *ctx = kg_ctx_ref(r->ctx);
  if (r->wire.holds) kg_remote_flush(lane, port); /* the news may be that it takes something again */
  for (int left = BATCH; left > 0 && port->socket; left--) {
    kg_error_t err = {0};
    kg_msg_t *m;
    int fd = -1;
    if (lane->queue.count > ENOUGH) break;
    int got = kg_wire_recv(&r->wire, port->socket, lane->now_us / 1000, &m, r->own ? NULL : &fd, &err);
    if (got == 0) {
      port->more = false;
      break;
    }
    if (got > 0) {
      if (fd >= 0) kg_remote_came_by(r, fd);
      take(ctx, m);
      kg_msg_unref(m);
    } else {
      atomic_fetch_add(&ctx->k->refused, 1);
      kg_logf(ctx->k, KG_LOG_WARN, ctx->name, "a message of its process was refused: %s", err.text);
    }
  }
  kg_ctx_unref(ctx);
}

/* --- a host on another machine: its connection is watched
 * ------------------------------------------------------------------------- */

/* One event of the socket; false if there was none. Others may knock and be turned away: only the descriptor of the
 * connection whose key was accepted counts. */
static bool take_event(kg_remote_t *r) {
  zmq_msg_t z;
  uint16_t event = 0;
  uint32_t fd = 0;
  zmq_msg_init(&z);
  if (zmq_msg_recv(&z, r->monitor.socket, ZMQ_DONTWAIT) < 0) return false;
  if (zmq_msg_size(&z) >= sizeof event + sizeof fd) {
    memcpy(&event, zmq_msg_data(&z), sizeof event);
    memcpy(&fd, (char *)zmq_msg_data(&z) + sizeof event, sizeof fd);
  }
  zmq_msg_close(&z);
  zmq_msg_init(&z);
  zmq_msg_recv(&z, r->monitor.socket, ZMQ_DONTWAIT); /* the address, which says no more than we know */
  zmq_msg_close(&z);
  if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
    kg_logf(r->k, KG_LOG_WARN, r->name, "somebody without a known key was turned away at %s", r->proc.address);
  if (event != ZMQ_EVENT_DISCONNECTED || r->connection != (int64_t)fd) return true;
  r->connection = -1;
  if (r->ctx) kg_remote_ended(r->ctx);
  return true;
}

void kg_remote_look_at_connection(kg_remote_t *r) {
  while (r->monitor.socket && take_event(r)) {
  }
  r->monitor.more = false;
}

static void monitor_ready(kg_lane_t *lane, kg_port_t *port) {
  (void)lane;
  kg_remote_look_at_connection((kg_remote_t *)((char *)port - offsetof(kg_remote_t, monitor)));
}

int kg_remote_monitor(kg_remote_t *r, kg_error_t *err) {
  char address[64];
  snprintf(address, sizeof address, "inproc://monitor-%u", ++r->k->last_host);
  r->connection = -1;
  r->monitor.ready = monitor_ready;
  if (zmq_socket_monitor(r->port.socket, address, ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0 &&
      (r->monitor.socket = zmq_socket(r->k->net, ZMQ_PAIR)) != NULL && zmq_connect(r->monitor.socket, address) == 0)
    return 0;
  return kg_error_set(err, KG_EINTERNAL, "the connection cannot be watched: %s", zmq_strerror(zmq_errno()));
}

void kg_remote_monitor_end(kg_remote_t *r) {
  if (!r->monitor.socket) return;
  if (r->ctx) kg_port_close(r->ctx, &r->monitor);
  zmq_socket_monitor(r->port.socket, NULL, 0);
  zmq_close(r->monitor.socket);
  r->monitor.socket = NULL;
}
