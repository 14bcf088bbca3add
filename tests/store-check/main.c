/*
 * Checks a store under load while it is stopped and killed:
 *   check-store --store memory|lmdb|etcd [--rounds N] [--clients N] [--keys N] [--ms N] [--kill] [--writes] [--compact]
 *               [--break stale|lost|blind]
 * A round lasts --ms and has keys of its own; in every second one all clients work on one key. --kill: in each round
 * the store's process (for etcd in turn: etcd's) is killed with -9 at some moment and started again. --writes: the
 * clients only write. --compact: history is compacted all the while. --break: a store that is wrong on purpose; then
 * finding nothing is the failure.
 */
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit-store/etcd.h"
#include "check.h"

typedef struct run {
  const char *store, *wrong;
  int rounds, ms;
  bool kill, compact;
  char dir[64];
  kg_kernel_t *k;
  test_etcd_t etcd;
  int kills;
} run_t;

static void die(const char *what, const char *why) {
  fprintf(stderr, "check-store: %s: %s\n", what, why);
  exit(2);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path);
}

static kg_doc_t *config(const run_t *r) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "compaction");
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "keepMs", r->compact ? 100 : 0);
  kg_pack_kv_int(&p, "keepRevisions", 5000);
  kg_pack_end(&p);
  kg_pack_kv_int(&p, "shrink", 1);
  if (r->wrong) kg_pack_kv_str(&p, "mode", r->wrong);
  kg_pack_key(&p, "endpoints");
  kg_pack_array(&p);
  for (int i = 0; i < r->etcd.members; i++) kg_pack_fmt(&p, "http://127.0.0.1:%d", r->etcd.ports[i]);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void load_store(const run_t *r) {
  char file[64];
  kg_error_t err = {0};
  static const char *const real[] = {"real", NULL};
  snprintf(file, sizeof file, "store-%s.so", r->store);
  kg_doc_t *doc = config(r);
  kg_plugin_spec_t spec = {.name = "store", .file = file, .config = doc, .process = true};
  kg_plugin_spec_t broken = {.name = "broken", .file = "store-broken.so", .config = doc};
  if (r->wrong) spec.services = real;
  if (kg_kernel_load(r->k, &spec, &err) < 0) die(file, err.text);
  if (r->wrong && kg_kernel_load(r->k, &broken, &err) < 0) die("store-broken.so", err.text);
  kg_doc_unref(doc);
}

static pid_t store_pid(const run_t *r) {
  pid_t pid = 0;
  kg_doc_t *doc = kg_kernel_list(r->k);
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(doc), "plugins")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "name")), "store"))
      pid = (pid_t)kg_view_int(kg_view_get(it.value, "process"), 0);
  kg_doc_unref(doc);
  return pid;
}

static void begin(run_t *r) {
  char run_dir[80];
  kg_error_t err = {0};
  snprintf(r->dir, sizeof r->dir, "/tmp/kogge-check-XXXXXX");
  if (!mkdtemp(r->dir)) die(r->dir, "cannot be made");
  snprintf(run_dir, sizeof run_dir, "%s/run", r->dir);
  kg_kernel_options_t o = {.data_dir = r->dir,
                           .run_dir = run_dir,
                           .plugin_path = BUILD "/plugins:" BUILD "/tests/plugins",
                           .trial_command = BUILD "/kogge",
                           .log_level = KG_LOG_ERROR,
                           .log_file = getenv("STORE_CHECK_LOG") ? getenv("STORE_CHECK_LOG") : "/dev/null",
                           .budget_ms = 5000};
  if (!strcmp(r->store, "etcd")) test_etcd_start(&r->etcd, r->dir, 1);
  r->k = kg_kernel_new(&o, &err);
  if (!r->k) die("kernel", err.text);
  load_store(r);
}

static void finish(run_t *r) {
  kg_kernel_free(r->k);
  test_etcd_stop(&r->etcd);
  nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- what is done to the store ---------------------------------------------------------------------------------------
 */

static void pause_ms(int ms) {
  usleep((useconds_t)ms * 1000);
}

/* Some moments without an answer: operations of many clients are under way together. */
static void hold(const run_t *r) {
  pid_t pid = store_pid(r);
  if (pid <= 0 || kill(pid, SIGSTOP) != 0) return;
  pause_ms(1 + rand() % 15);
  kill(pid, SIGCONT);
}

static void kill_store(run_t *r) {
  kg_error_t err = {0};
  r->kills++;
  if (r->etcd.members && r->kills % 2) {
    test_etcd_kill(&r->etcd, 0);
    test_etcd_start_member(&r->etcd, 0);
    return;
  }
  pid_t pid = store_pid(r);
  if (pid > 0) kill(pid, SIGKILL);
  /* The kernel would start it again by itself, but after longer and longer pauses. */
  if (kg_kernel_unload(r->k, "store", &err) < 0) die("unload", err.text);
  load_store(r);
}

static void one_round(run_t *r, load_t *l) {
  int before = atomic_load(&l->answered), moment = rand() % (r->ms + 1);
  pause_ms(moment);
  if (r->kill)
    kill_store(r);
  else
    hold(r);
  pause_ms(r->ms - moment);
  /* The next round begins when this one has come to something. */
  for (int i = 0; i < 10000 && atomic_load(&l->answered) < before + (r->wrong ? 1500 : 50); i++) pause_ms(1);
}

static void clients(run_t *r, load_t *l) {
  kg_error_t err = {0};
  kg_plugin_spec_t spec = {.name = "clients", .descriptor = load_plugin(l)};
  if (kg_kernel_load(r->k, &spec, &err) < 0) die("clients", err.text);
  for (int i = 0; i < r->rounds; i++) {
    atomic_store(&l->round, i);
    one_round(r, l);
  }
  atomic_store(&l->stop, true);
  for (int i = 0; i < 60000 && !atomic_load(&l->finished); i++) pause_ms(1);
  if (!atomic_load(&l->finished)) snprintf(l->trouble, sizeof l->trouble, "the clients did not come to an end");
}

/* --- the result
 * ------------------------------------------------------------------------------------------------------------ */

static int report(const run_t *r, const load_t *l, const verdict_t *v) {
  printf("%s%s%s: %d rounds, %d kills; %zu operations, %zu writes acknowledged, %zu without an answer; %zu histories "
         "checked; %zu changes told, the watch resumed %zu times",
         r->store, r->wrong ? ", broken: " : "", r->wrong ? r->wrong : "", r->rounds, r->kills, v->operations,
         v->acknowledged, v->unknown, v->histories, l->told.n, v->resumed);
  if (v->faults)
    printf("; %zu FAULTS, first: %s\n", v->faults, v->first);
  else
    printf("; nothing lost, no revision back, no gap, no repeat%s, all linearizable\n",
           l->replayed ? " (compared with the whole history)" : "");
  return r->wrong ? v->faults == 0 : v->faults != 0;
}

static int number(const char *text) {
  int n = atoi(text);
  if (n < 1) die(text, "is no number");
  return n;
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"store", 1, 0, 's'}, {"rounds", 1, 0, 'r'}, {"clients", 1, 0, 'c'}, {"keys", 1, 0, 'k'},  {"ms", 1, 0, 'm'},
      {"kill", 0, 0, 'x'},  {"writes", 0, 0, 'w'}, {"compact", 0, 0, 'p'}, {"break", 1, 0, 'b'}, {0}};
  run_t r = {.store = "lmdb", .rounds = 10, .ms = 100};
  load_t l = {.clients = 64, .keys = 16};
  for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (o == 's') r.store = optarg;
    if (o == 'r') r.rounds = number(optarg);
    if (o == 'm') r.ms = number(optarg);
    if (o == 'x') r.kill = true;
    if (o == 'p') r.compact = true;
    if (o == 'b') r.wrong = optarg;
    if (o == 'c') l.clients = number(optarg);
    if (o == 'k') l.keys = number(optarg);
    if (o == 'w') l.only_writes = true;
    if (o == '?') return 2;
  }
  if (!strcmp(r.store, "etcd") && !test_etcd_there()) {
    printf("etcd is not installed: skipped\n");
    return 77;
  }
  srand((unsigned)getpid());
  begin(&r);
  clients(&r, &l);
  finish(&r);
  verdict_t v = judge(&l);
  int rc = report(&r, &l, &v);
  load_free(&l);
  return rc;
}
