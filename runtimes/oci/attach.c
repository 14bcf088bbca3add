/*
 * Attaching to a running container: its conmon listens on the socket `attach` of the container's directory (packets:
 * the first byte says 2 standard output, 3 standard error; what is sent goes to standard input) and reads `1 HEIGHT
 * WIDTH` from the fifo `ctl` when the terminal changes its size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oci.h"

enum { PACKET = 8192 };

struct attach_stream {
  attach_stream_t *next;
  oci_t *oci;
  kg_msg_t *request;
  int fd, ctl; /* ctl -1: no terminal */
  bool no_credit;
  stream_input_t input;
};

static void attach_free(attach_stream_t *x) {
  for (attach_stream_t **at = &x->oci->attaches; *at; at = &(*at)->next)
    if (*at == x) {
      *at = x->next;
      break;
    }
  if (x->fd >= 0) {
    kg_fd_forget(x->oci->ctx, x->fd);
    close(x->fd);
  }
  if (x->ctl >= 0) close(x->ctl);
  kube_buf_free(&x->input.rest);
  kg_msg_unref(x->request);
  free(x);
}

void attaches_free(oci_t *o) {
  while (o->attaches) attach_free(o->attaches);
}

static void set_interest(const attach_stream_t *x) {
  uint32_t events = (x->no_credit ? 0 : EPOLLIN) | (input_waits(&x->input) ? EPOLLOUT : 0);
  kg_fd_change(x->oci->ctx, x->fd, events);
}

/* False: the container has ended, and x is gone. */
static bool read_output(attach_stream_t *x) {
  char packet[PACKET + 1];
  ssize_t n = recv(x->fd, packet, sizeof packet, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    kg_stream_end(x->oci->ctx, x->request);
    attach_free(x);
    return false;
  }
  int number = packet[0] == 3 ? 2 : 1;
  if (n > 1 && stream_output(x->oci->ctx, x->request, number, packet + 1, (size_t)n - 1) <= 0) x->no_credit = true;
  return true;
}

static void write_input(attach_stream_t *x) {
  stream_input_t *in = &x->input;
  while (input_waits(in)) {
    size_t part = in->rest.n - in->taken < PACKET ? in->rest.n - in->taken : PACKET;
    ssize_t n = send(x->fd, in->rest.p + in->taken, part, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break; /* it takes no more now, or has gone: then reading tells */
    in->taken += (size_t)n;
  }
  if (input_waits(in)) return;
  input_taken(x->oci->ctx, x->request, in);
  if (in->ended) shutdown(x->fd, SHUT_WR);
}

static void on_socket(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)fd;
  attach_stream_t *x = arg;
  if (events & EPOLLOUT) write_input(x);
  if ((events & ~(uint32_t)EPOLLOUT) && !read_output(x)) return;
  set_interest(x);
}

static void resize(const attach_stream_t *x, kg_view_t size) {
  char line[64];
  int n = snprintf(line, sizeof line, "1 %d %d\n", (int)kg_view_int(kg_view_get(size, "h"), 24),
                   (int)kg_view_int(kg_view_get(size, "w"), 80));
  if (x->ctl >= 0 && write(x->ctl, line, (size_t)n) < 0)
    kg_log(x->oci->ctx, KG_LOG_DEBUG, "a terminal could not be resized: %s", strerror(errno));
}

static void on_item(kg_ctx_t *ctx, void *self, const kg_msg_t *request, const kg_msg_t *item, void *arg) {
  (void)ctx, (void)self, (void)request;
  attach_stream_t *x = arg;
  kg_view_t size = kg_view_get(kg_msg_args(item), "resize");
  if (kg_view_there(size)) resize(x, size);
  input_add(&x->input, item, true);
  write_input(x);
  set_interest(x);
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  attach_stream_t *x = arg;
  x->no_credit = false;
  set_interest(x);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request;
  attach_free(arg);
}

/* By the directory's descriptor, for a socket's path may have 107 bytes only. */
static int connect_in(const char *dir, kg_error_t *err) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/attach", at);
  bool ok = at >= 0 && fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
  if (!ok) kg_error_set(err, KG_EUNAVAILABLE, "the container's monitor cannot be reached: %s", strerror(errno));
  if (at >= 0) close(at);
  if (!ok && fd >= 0) close(fd);
  return ok ? fd : -1;
}

void runtime_attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const kg_stream_events_t events = {
      .on_credit = on_credit, .on_cancel = on_cancel, .on_item = on_item, .manual_credit = true};
  oci_t *o = self;
  char dir[PATH_SIZE], path[PATH_SIZE + 8];
  kg_error_t err;
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "id"));
  container_t *c = container_find(o, id);
  if (!c || c->state != C_RUNNING)
    return kg_fail(ctx, m, KG_ENOTFOUND, "container " KG_STR_FMT " is not running", KG_STR_ARG(id));
  container_dir(o, c->id, dir);
  int fd = connect_in(dir, &err);
  if (fd < 0) return kg_fail(ctx, m, err.code, "%s", err.text);
  attach_stream_t *x = calloc(1, sizeof *x);
  if (!x) {
    close(fd);
    return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  }
  snprintf(path, sizeof path, "%s/ctl", dir);
  *x = (attach_stream_t){.next = o->attaches, .oci = o, .request = kg_msg_ref(m), .fd = fd, .ctl = -1};
  if (c->tty) x->ctl = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  o->attaches = x;
  kg_stream_open(ctx, m, &events, x);
  if (kg_fd_watch(ctx, fd, EPOLLIN, on_socket, x, &err) == 0) return;
  kg_fail(ctx, m, err.code, "%s", err.text);
  attach_free(x);
}
