/* One nft process at a time; its end is seen by a pidfd. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netfilter/nft.h"
#include "proxy.h"

struct nft {
  nft_t **at;
  nft_done_fn done;
  pid_t pid;
  int fd, out;
};

static void on_end(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)fd, (void)events;
  nft_t *p = arg;
  char said[400] = "";
  int status = -1;
  if (waitpid(p->pid, &status, WNOHANG) == 0) return;
  ssize_t n = pread(p->out, said, sizeof said - 1, 0);
  said[n > 0 ? n : 0] = '\0';
  nft_done_fn done = p->done;
  nft_forget(ctx, p->at);
  done(ctx, self, status ? said : NULL);
}

void nft_forget(kg_ctx_t *ctx, nft_t **nft) {
  nft_t *p = *nft;
  *nft = NULL;
  if (!p) return;
  if (p->fd >= 0) {
    kg_fd_forget(ctx, p->fd);
    close(p->fd);
  }
  if (p->out >= 0) close(p->out);
  free(p);
}

int nft_run(kg_ctx_t *ctx, nft_t **nft, const char *text, size_t n, nft_done_fn done, kg_error_t *err) {
  nft_t *p = *nft = calloc(1, sizeof *p);
  if (!p) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  *p = (nft_t){.at = nft, .done = done, .fd = -1};
  p->pid = nft_spawn(text, n, &p->out);
  int code = errno;
  if (p->pid > 0 && (p->fd = (int)syscall(SYS_pidfd_open, p->pid, 0)) >= 0 &&
      kg_fd_watch(ctx, p->fd, EPOLLIN, on_end, p, err) == 0)
    return 0;
  nft_forget(ctx, nft);
  return kg_error_set(err, KG_EINTERNAL, "nft could not be started: %s", strerror(code));
}
