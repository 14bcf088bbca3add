#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* 0, -1 with errno, or -2: the path is too long. */
static int reach(const cli_t *cli, client_t *c, struct sockaddr_un *a) {
  *a = (struct sockaddr_un){.sun_family = AF_UNIX};
  *c = (client_t){.fd = -1};
  if (snprintf(a->sun_path, sizeof a->sun_path, "%s/kogge.sock", cli->run_dir) >= (int)sizeof a->sun_path) return -2;
  c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return c->fd < 0 ? -1 : connect(c->fd, (struct sockaddr *)a, sizeof *a);
}

int client_open(const cli_t *cli, client_t *c) {
  struct sockaddr_un a;
  int rc = reach(cli, c, &a);
  if (rc == 0) return 0;
  if (rc == -2)
    fprintf(stderr, "kogge: the path of run directory %s is too long\n", cli->run_dir);
  else if (errno == ENOENT || errno == ECONNREFUSED)
    fprintf(stderr, "kogge: no server answers at %s (%s): start one with kogge server, or say --run-dir\n", a.sun_path,
            strerror(errno));
  else
    fprintf(stderr, "kogge: the server at %s cannot be asked: %s\n", a.sun_path, strerror(errno));
  client_close(c);
  return -1;
}

int client_open_quiet(const cli_t *cli, client_t *c, int patience_ms) {
  struct sockaddr_un a;
  struct timeval t = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};
  if (reach(cli, c, &a) == 0 && setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0) return 0;
  client_close(c);
  return -1;
}

void client_close(client_t *c) {
  if (c->fd >= 0) close(c->fd);
  free(c->data);
  *c = (client_t){.fd = -1};
}

int client_send(client_t *c, const char *service, const char *topic, kg_doc_t *args, bool stream, int64_t timeout_ms) {
  uint8_t *frame;
  size_t size;
  if (kg_frame_pack(KG_MSG_REQUEST, 1, service, topic, 0, "", args, NULL, 0, stream, timeout_ms, &frame, &size) < 0)
    return -1;
  size_t done = 0;
  while (done < size) {
    ssize_t n = send(c->fd, frame + done, size - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (size_t)n;
  }
  free(frame);
  return done == size ? 0 : -1;
}

static int receive(int fd, uint8_t *to, size_t size) {
  while (size) {
    ssize_t n = recv(fd, to, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    to += n;
    size -= (size_t)n;
  }
  return 0;
}

int client_next(client_t *c, kg_frame_t *f) {
  uint8_t head[4];
  if (receive(c->fd, head, 4) < 0) return -1;
  size_t n = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
  if (n > KG_FRAME_MAX) return -1;
  if (n > c->room) {
    uint8_t *bigger = realloc(c->data, n);
    if (!bigger) return -1;
    c->data = bigger;
    c->room = n;
  }
  return receive(c->fd, c->data, n) < 0 ? -1 : kg_frame_read(c->data, n, f);
}

int client_ask(client_t *c, const char *service, const char *topic, kg_doc_t *args, int64_t timeout_ms, kg_frame_t *f) {
  if (client_send(c, service, topic, args, false, timeout_ms) < 0 || client_next(c, f) < 0) {
    fprintf(stderr, "kogge: the server has gone\n");
    return -1;
  }
  if (f->type != KG_MSG_ERROR) return 0;
  if (f->code == KG_EUNAVAILABLE && strncmp(service, "plugin/", 7) == 0 && f->text.n > 13 &&
      strncmp(f->text.p, "nobody serves", 13) == 0)
    fprintf(stderr, "kogge: no plugin %s answers, see kogge plugin list\n", service + 7);
  else
    fprintf(stderr, "kogge: " KG_STR_FMT "\n", KG_STR_ARG(f->text));
  return -1;
}

void print_json(kg_view_t v) {
  char *json = kg_view_to_json(v);
  printf("%s\n", json ? json : "null");
  free(json);
}
