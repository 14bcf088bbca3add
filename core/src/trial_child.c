/* The inside of a trial: this process may die of the plugin, that is what it is for. */
#include <malloc.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"
#include "manager.h"

#define ROUNDS 4
#define LEAK_PER_ROUND 16384 /* bytes: what stays after destroy(), round after round */

static int report_fd = -1;

/* The sanitizers bring an allocator of their own, which mallinfo2() knows nothing of. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void) {
  return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : mallinfo2().uordblks;
}

static void phase(const char *name) {
  dprintf(report_fd, "%s\n", name);
}

void kg_own_network(void) {
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  if (unshare(CLONE_NEWNET) < 0) return;
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (s < 0) return;
  ioctl(s, SIOCSIFFLAGS, &lo);
  close(s);
}

/* One life. Not ready is no fault here: nobody else is on the bus. */
static int live(kg_kernel_t *k, const kg_plugin_t *desc, const char *name, kg_doc_t *config, int64_t patience_ms,
                kg_error_t *err) {
  kg_lane_t *lane = kg_lane_named(k, "trial", err);
  kg_ctx_t *ctx = lane ? kg_instance_new(k, name, lane, desc, config) : NULL;
  if (!ctx) return -1;
  kg_error_t ignored;
  int rc = kg_do(ctx, kg_job_create, 60000, "create", err);
  if (rc == 0) kg_wait_ready(ctx, patience_ms, &ignored);
  kg_take_down(ctx, "the trial is over", NULL);
  return rc;
}

static int check_leaks(kg_kernel_t *k, const kg_source_t *src, const char *name, kg_doc_t *config, kg_error_t *err) {
  size_t before = 0, least = SIZE_MAX;
  for (int i = 0; i <= ROUNDS; i++) {
    if (live(k, src->desc, name, config, 20, err) < 0) return -1;
    size_t now = allocated();
    if (i > 0 && (now < before ? 0 : now - before) < least) least = now < before ? 0 : now - before;
    before = now;
  }
  if (least < LEAK_PER_ROUND) return 0;
  return kg_error_set(err, KG_EINVAL,
                      "plugin %s leaks: each time it was created and destroyed at least %zu bytes stayed behind",
                      src->desc->name, least);
}

static int try(kg_kernel_t *k, const char *file, const char *name, kg_doc_t *config, kg_error_t *err) {
  kg_source_t src;
  phase("loaded");
  if (kg_source_open(k, file, NULL, NULL, false, &src, err) < 0) return -1;
  int rc = live(k, src.desc, name, config, 300, err);
  if (rc < 0)
    kg_error_prefix(err, "plugin %s refused to start", src.desc->name);
  else
    rc = check_leaks(k, &src, name, config, err);
  kg_source_close(&src);
  return rc;
}

int kg_trial_run(const char *file, const char *name, kg_doc_t *config, const char *dir, int report) {
  kg_error_t err = {0};
  struct rlimit no_core = {0};
  report_fd = report;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setrlimit(RLIMIT_CORE, &no_core);
  kg_own_network();
  kg_kernel_t *k =
      kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR, .log_file = "/dev/null", .run_dir = dir}, &err);
  if (k) {
    k->on_phase = phase;
    if (try(k, file, name, config, &err) == 0) err.code = 0;
    kg_kernel_free(k);
  }
  for (char *p = err.text; *p; p++)
    if (*p == '\n') *p = ' ';
  if (err.code)
    dprintf(report, "bad %s\n", err.text);
  else
    dprintf(report, "ok\n");
  return err.code ? 1 : 0;
}
