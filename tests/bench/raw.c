#include "raw.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "measure.h"
#include "msg_internal.h"

typedef struct raw {
  void *zmq, *dealer, *router;
  char address[200];
  const char *keys[2][2]; /* server's, client's: public, secret */
  transport_t transport;
  bool envelope;
  uint64_t sent, answered;
} raw_t;

enum { TOGETHER = 256 }; /* so small a payload is copied behind its envelope */

static char payload[65536];

static void must(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "raw ZeroMQ: %s: %s\n", what, zmq_strerror(errno));
  exit(1);
}

static void no_release(void *data, void *hint) {
  (void)data, (void)hint;
}

static void set(void *socket, int option, int value) {
  must(zmq_setsockopt(socket, option, &value, sizeof value) == 0, "setsockopt");
}

static void *open_router(raw_t *r) {
  void *s = zmq_socket(r->zmq, ZMQ_ROUTER);
  must(s, "socket");
  set(s, ZMQ_SNDHWM, 0);
  set(s, ZMQ_RCVHWM, 0);
  set(s, ZMQ_LINGER, 0);
  if (r->transport == CURVE) {
    set(s, ZMQ_CURVE_SERVER, 1);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, r->keys[0][1], 41);
  }
  must(zmq_bind(s, r->address) == 0, r->address);
  return s;
}

static void *open_dealer(raw_t *r) {
  void *s = zmq_socket(r->zmq, ZMQ_DEALER);
  must(s, "socket");
  set(s, ZMQ_SNDHWM, 0);
  set(s, ZMQ_RCVHWM, 0);
  set(s, ZMQ_LINGER, 0);
  if (r->transport == CURVE) {
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, r->keys[0][0], 41);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, r->keys[1][0], 41);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, r->keys[1][1], 41);
  }
  must(zmq_connect(s, r->address) == 0, r->address);
  return s;
}

/* --- with an envelope --------------------------------------------------------------------------------------------- */

static kg_msg_t *make_message(kg_msg_type_t type) {
  return kg_msg_new(&(kg_msg_init_t){.type = type,
                                     .topic = "echo.say",
                                     .source = type == KG_MSG_REQUEST ? "asker" : "echo",
                                     .service = type == KG_MSG_REQUEST ? "echo" : "asker"});
}

/* The envelope, and the payload behind it if `data` is not NULL. */
static void send_envelope(void *socket, kg_msg_type_t type, uint64_t id, const void *data, size_t size) {
  static kg_msg_t *messages[KG_MSG_REPLY + 1];
  uint8_t envelope[KG_ENVELOPE_MAX];
  zmq_msg_t z;
  if (!messages[type]) messages[type] = make_message(type);
  size_t n = kg_envelope_write(messages[type], id, 0, 0, envelope);
  zmq_msg_init_size(&z, n + (data ? size : 0));
  memcpy(zmq_msg_data(&z), envelope, n);
  if (data) memcpy((uint8_t *)zmq_msg_data(&z) + n, data, size);
  must(zmq_msg_send(&z, socket, data ? 0 : ZMQ_SNDMORE) >= 0, "send");
}

/* The id in the envelope; *behind: the payload in the same frame, NULL if it is the next one. */
static uint64_t read_envelope(zmq_msg_t *z, kg_msg_type_t type, const uint8_t **behind, size_t *size) {
  char scratch[KG_ENVELOPE_MAX + 8];
  kg_msg_init_t in;
  size_t n = kg_envelope_read(zmq_msg_data(z), zmq_msg_size(z), 0, &in, scratch, NULL);
  must(n && in.type == type && strcmp(in.topic, "echo.say") == 0, "envelope");
  *size = zmq_msg_size(z) - n;
  *behind = *size ? (uint8_t *)zmq_msg_data(z) + n : NULL;
  return in.id;
}

static void answer_enveloped(void *router, zmq_msg_t *body) {
  const uint8_t *behind;
  size_t size;
  uint64_t id = read_envelope(body, KG_MSG_REQUEST, &behind, &size);
  send_envelope(router, KG_MSG_REPLY, id, behind, size);
  zmq_msg_close(body);
  zmq_msg_init(body);
  if (behind) return;
  must(zmq_msg_recv(body, router, 0) >= 0, "recv");
  must(zmq_msg_send(body, router, 0) >= 0, "send");
}

static void ask_enveloped(raw_t *r, size_t size) {
  bool together = size <= TOGETHER;
  zmq_msg_t z;
  send_envelope(r->dealer, KG_MSG_REQUEST, ++r->sent, together ? payload : NULL, size);
  if (together) return;
  zmq_msg_init_data(&z, payload, size, no_release, NULL);
  must(zmq_msg_send(&z, r->dealer, 0) >= 0, "send");
}

static void take_enveloped(raw_t *r, zmq_msg_t *z) {
  const uint8_t *behind;
  size_t size;
  must(read_envelope(z, KG_MSG_REPLY, &behind, &size) == ++r->answered, "order");
  if (!behind) must(zmq_msg_recv(z, r->dealer, 0) >= 0, "recv");
}

/* --- the exchange ------------------------------------------------------------------------------------------------- */

/* The identity, and what it asked, goes back as it came. */
static bool echo(raw_t *r, void *router, int flags) {
  zmq_msg_t id, body;
  zmq_msg_init(&id);
  zmq_msg_init(&body);
  bool got = zmq_msg_recv(&id, router, flags) >= 0 && zmq_msg_recv(&body, router, 0) >= 0;
  if (got) zmq_msg_send(&id, router, ZMQ_SNDMORE);
  if (got && r->envelope)
    answer_enveloped(router, &body);
  else if (got)
    zmq_msg_send(&body, router, 0);
  zmq_msg_close(&id);
  zmq_msg_close(&body);
  return got;
}

static void *echo_thread(void *arg) {
  raw_t *r = arg;
  void *router = open_router(r);
  while (echo(r, router, 0)) {
  }
  zmq_close(router);
  return NULL;
}

static void ask(raw_t *r, size_t size) {
  zmq_msg_t z;
  if (r->envelope) {
    ask_enveloped(r, size);
    return;
  }
  zmq_msg_init_data(&z, payload, size, no_release, NULL);
  must(zmq_msg_send(&z, r->dealer, 0) >= 0, "send");
}

static void answer(raw_t *r) {
  zmq_msg_t z;
  zmq_msg_init(&z);
  if (r->router) echo(r, r->router, 0); /* the same thread: one in, one out */
  must(zmq_msg_recv(&z, r->dealer, 0) >= 0, "recv");
  if (r->envelope) take_enveloped(r, &z);
  zmq_msg_close(&z);
}

static double measure(raw_t *r, size_t size, int window, int ms) {
  int64_t done = 0, since, end;
  ask(r, size);
  answer(r); /* connected */
  since = now_ns();
  end = since + (int64_t)ms * 1000000;
  for (int i = 0; i < window; i++) ask(r, size);
  while (now_ns() < end) {
    for (int i = 0; i < 16; i++, done++) {
      answer(r);
      ask(r, size);
    }
  }
  double rate = (double)done * 1e9 / (double)(now_ns() - since);
  for (int i = 0; i < window; i++) answer(r);
  return rate;
}

static pid_t fork_echo(raw_t *r) {
  pid_t pid = fork();
  if (pid) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  r->zmq = zmq_ctx_new();
  echo_thread(r);
  _exit(0);
}

double raw_rate(transport_t t, bool envelope, size_t size, int window, int ms, const char *dir) {
  char keys[4][41];
  raw_t r = {.transport = t, .envelope = envelope};
  pthread_t thread;
  pid_t pid = 0;
  if (t == CURVE) {
    zmq_curve_keypair(keys[0], keys[1]);
    zmq_curve_keypair(keys[2], keys[3]);
    for (int i = 0; i < 4; i++) r.keys[i / 2][i % 2] = keys[i];
  }
  if (t < IPC)
    snprintf(r.address, sizeof r.address, "inproc://raw");
  else if (t == IPC)
    snprintf(r.address, sizeof r.address, "ipc://%s/raw.ipc", dir);
  else
    snprintf(r.address, sizeof r.address, "tcp://127.0.0.1:%d", 20000 + getpid() % 20000);
  if (t >= IPC) pid = fork_echo(&r);
  r.zmq = zmq_ctx_new();
  if (t == SAME_LANE) r.router = open_router(&r);
  if (t == ACROSS_LANES) pthread_create(&thread, NULL, echo_thread, &r);
  r.dealer = open_dealer(&r);
  double rate = measure(&r, size, window, ms);
  zmq_close(r.dealer);
  if (r.router) zmq_close(r.router);
  zmq_ctx_shutdown(r.zmq);
  if (t == ACROSS_LANES) pthread_join(thread, NULL);
  zmq_ctx_term(r.zmq);
  if (pid > 0) kill(pid, SIGKILL);
  if (pid > 0) waitpid(pid, NULL, 0);
  return rate;
}
