/* The process of a plugin, and the socket that leads to it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "curve.h"
#include "remote.h"

#define FIRST_FREE_FD 20 /* descriptors to hand over are moved out of the way of 0-4 */

extern char **environ;

/* What ZeroMQ calls the address; tcp+plain:// is tcp without CURVE, for measuring: no configuration file can say it. */
static const char *zmq_address(const char *address, char *plain, size_t room) {
  if (strncmp(address, "tcp+plain://", 12) != 0) return address;
  snprintf(plain, room, "tcp://%s", address + 12);
  return plain;
}

static bool is_tcp(const char *address) {
  return strncmp(address, "tcp://", 6) == 0;
}

int kg_process_prepare(kg_kernel_t *k, kg_process_t *p, const char *name, const char *listen, kg_error_t *err) {
  *p = (kg_process_t){.pidfd = -1, .life = -1, .memory = -1};
  if (listen) {
    if (strncmp(listen, "tcp", 3) != 0) return kg_error_set(err, KG_EINVAL, "%s is no tcp:// address", listen);
    snprintf(p->address, sizeof p->address, "%s", listen);
    return 0;
  }
  int n = snprintf(p->address, sizeof p->address, "ipc://%s/%s-%u.ipc", k->run_dir, name, ++k->last_host);
  if (n >= (int)sizeof p->address || n >= 107 + 6)
    return kg_error_set(err, KG_EINVAL, "the run directory's path %s is too long for a socket", k->run_dir);
  p->memory = memfd_create("kogge-pulse", MFD_CLOEXEC);
  if (p->memory >= 0 && ftruncate(p->memory, sizeof(kg_pulse_t)) == 0) {
    void *shared = mmap(NULL, sizeof(kg_pulse_t), PROT_READ | PROT_WRITE, MAP_SHARED, p->memory, 0);
    if (shared != MAP_FAILED) p->pulse = shared;
  }
  return p->pulse ? 0 : kg_error_set(err, KG_EINTERNAL, "no memory can be shared: %s", strerror(errno));
}

void *kg_process_socket(kg_kernel_t *k, const kg_process_t *p, kg_error_t *err) {
  char plain[sizeof p->address];
  int none = 0, most = KG_WIRE_HWM;
  int64_t size = KG_DOC_MAX_BYTES;
  if (!k->net) k->net = zmq_ctx_new();
  void *s = k->net ? zmq_socket(k->net, ZMQ_DEALER) : NULL;
  if (!s) {
    kg_error_set(err, KG_EINTERNAL, "no socket can be made: %s", zmq_strerror(errno));
    return NULL;
  }
  zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
  zmq_setsockopt(s, ZMQ_SNDHWM, &most, sizeof most);
  zmq_setsockopt(s, ZMQ_RCVHWM, &none, sizeof none); /* the host's own limits hold it back */
  zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &size, sizeof size);
  int rc = is_tcp(p->address) ? kg_curve_server(k, s, err) : 0;
  mode_t old = umask(0077);
  if (rc == 0 && zmq_bind(s, zmq_address(p->address, plain, sizeof plain)) < 0)
    rc = kg_error_set(err, KG_EINVAL, "%s cannot be bound: %s", p->address, zmq_strerror(errno));
  umask(old);
  if (rc == 0) return s;
  zmq_close(s);
  return NULL;
}

static int moved(int fd) {
  return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
}

static int spawn(kg_kernel_t *k, kg_process_t *p, char *const argv[], int life) {
  posix_spawn_file_actions_t f;
  posix_spawnattr_t a;
  sigset_t none;
  int memory = moved(p->memory), log = moved(k->log.fd), far = moved(life);
  sigemptyset(&none);
  posix_spawn_file_actions_init(&f);
  posix_spawnattr_init(&a);
  posix_spawnattr_setsigmask(&a, &none);
  posix_spawnattr_setflags(&a, POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_addopen(&f, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&f, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&f, log, 2);
  posix_spawn_file_actions_adddup2(&f, far, 3);
  posix_spawn_file_actions_adddup2(&f, memory, 4);
  pid_t pid = 0;
  int rc = memory < 0 || log < 0 || far < 0 ? EMFILE : posix_spawn(&pid, k->trial_command, &f, &a, argv, environ);
  p->pid = rc == 0 ? pid : 0;
  posix_spawn_file_actions_destroy(&f);
  posix_spawnattr_destroy(&a);
  if (memory >= 0) close(memory);
  if (log >= 0) close(log);
  if (far >= 0) close(far);
  return rc;
}

int kg_process_start(kg_kernel_t *k, kg_process_t *p, const char *name, const char *file, const char *dir,
                     kg_error_t *err) {
  int life[2];
  char budget[24], level[12];
  if (!k->trial_command)
    return kg_error_set(err, KG_EINVAL, "this kernel knows no command that hosts plugins in processes of their own");
  if (pipe2(life, O_CLOEXEC) < 0)
    return kg_error_set(err, KG_EINTERNAL, "no process can be started: %s", strerror(errno));
  snprintf(budget, sizeof budget, "%lld", (long long)k->budget_us / 1000);
  snprintf(level, sizeof level, "%d", atomic_load(&k->log.level));
  const char *data = dir ? dir : k->data_dir, *run = dir ? dir : k->run_dir;
  const char *argv[] = {"kogge",      "plugin-host",
                        "--connect",  p->address,
                        "--file",     file,
                        "--name",     name,
                        "--data",     data,
                        "--run",      run,
                        "--budget",   budget,
                        "--log",      level,
                        "--log-json", k->log.json ? "1" : "0",
                        "--shadow",   dir ? "1" : "0",
                        NULL};
  int rc = spawn(k, p, (char *const *)argv, life[0]);
  close(life[0]);
  if (rc != 0) {
    p->pid = 0;
    close(life[1]);
    return kg_error_set(err, KG_EINTERNAL, "%s cannot be started: %s", k->trial_command, strerror(rc));
  }
  p->life = life[1];
  p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
  if (p->pidfd >= 0) fcntl(p->pidfd, F_SETFD, FD_CLOEXEC);
  return p->pidfd >= 0 ? 0
                       : kg_error_set(err, KG_EINTERNAL, "process %d cannot be watched: %s", p->pid, strerror(errno));
}

void kg_process_end(kg_process_t *p, char *how, size_t room) {
  int status = 0;
  if (!p->pid) return;
  if (p->life >= 0) close(p->life);
  bool ended = waitpid(p->pid, &status, WNOHANG) == p->pid;
  if (!ended) kill(p->pid, SIGKILL);
  while (!ended && waitpid(p->pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (how && WIFSIGNALED(status))
    snprintf(how, room, "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (how)
    snprintf(how, room, "ended with code %d", WEXITSTATUS(status));
  if (p->pidfd >= 0) close(p->pidfd);
  p->pid = 0;
  p->pidfd = p->life = -1;
}

void kg_process_free(kg_process_t *p) {
  kg_process_end(p, NULL, 0);
  if (strncmp(p->address, "ipc://", 6) == 0) unlink(p->address + 6);
  if (p->pulse) munmap(p->pulse, sizeof *p->pulse);
  if (p->memory >= 0) close(p->memory);
  p->pulse = NULL;
  p->memory = -1;
}
