/* A registry that means harm (registry.py): every answer ends in one sentence, soon, with nothing left in the store. */
#include <stdarg.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "node.h"

typedef struct registry {
  node_t *n;
  FILE *python; /* it ends with its input: nothing is left if the test dies */
  char store[96];
  int port;
} registry_t;

/* certificate: a file of it and its key, "": none. */
static registry_t begin_with(const char *config, const char *certificate) {
  registry_t r = {.n = node_with(config)};
  char line[300];
  snprintf(r.store, sizeof r.store, "%s/data/runtime/images", r.n->dir);
  snprintf(line, sizeof line, "python3 %s %s >%s/port", REGISTRY, certificate, r.n->dir);
  r.python = popen(line, "we");
  snprintf(line, sizeof line, "%s/port", r.n->dir);
  for (int i = 0; i < 500 && !r.port; i++) {
    char *text = slurp(line);
    r.port = strchr(text, '\n') ? atoi(text) : 0;
    free(text);
    usleep(20000);
  }
  cr_assert(r.port > 0);
  return r;
}

static registry_t begin(const char *config) {
  return begin_with(config, "");
}

static void end(registry_t *r) {
  pclose(r->python);
  node_free(r->n);
}

static bool store_is_empty(const registry_t *r) {
  return shell("find %s/layers %s/images %s/tmp -mindepth 1 2>/dev/null | grep -q .", r->store, r->store, r->store) !=
         0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Pulling h/HOW is refused with a sentence that has `why` in it. */
static void refused(const registry_t *r, const char *how, const char *why) {
  double began = now();
  kg_msg_t *m = ask(r->n, "image.pull", "{'image': '127.0.0.1:%d/h/%s:1'}", r->port, how);
  double took = now() - began;
  cr_expect(kg_msg_type(m) == KG_MSG_ERROR && strstr(kg_msg_text(m), why), "%s: %s", how, kg_msg_text(m));
  cr_expect(kg_msg_type(m) != KG_MSG_ERROR || !strchr(kg_msg_text(m), '\n'), "%s: %s", how, kg_msg_text(m));
  cr_expect(took < 30, "%s: took %.1f s", how, took);
  cr_expect(store_is_empty(r), "%s: something is left", how);
  kg_msg_unref(m);
}

typedef struct expected {
  const char *how, *why;
} expected_t;

static void all_refused(const registry_t *r, const expected_t *e, size_t n) {
  for (size_t i = 0; i < n; i++) refused(r, e[i].how, e[i].why);
}
#define ALL(r, e) all_refused(r, e, sizeof e / sizeof *e)

Test(registry, bodies_that_do_not_end) {
  static const expected_t cases[] = {
      {"endless", "is over 4 MiB"},
      {"endless404", "not found"},
      {"endless401", "pull access denied"},
      {"loop", "redirects"},
      {"endlessloop", "redirects"},
      {"tofile", "file"},
      {"heads", "headers"},
      {"endlessconfig", "larger than the"},
      {"layerendless", "larger than the"},
      {"layer404", "not found"},
      {"layerloop", "redirects"},
      {"tokenendless", "failed to authorize: the token service's answer is over 4 MiB"},
      {"tokenloop", "failed to authorize: failed to fetch a token"},
      {"tokenrubbish", "failed to authorize: the token service gave no token"},
      {"tokeninjects", "failed to authorize: the token service gave no token"},
      {"tokenfails", "failed to authorize: unexpected status"},
  };
  registry_t r = begin(NULL);
  ALL(&r, cases);
  end(&r);
}

Test(registry, what_is_no_image) {
  static const expected_t cases[] = {
      {"rubbish", "manifest cannot be read"},
      {"notjson", "manifest cannot be read"},
      {"html", "media type \"text/html\", which is no image manifest"},
      {"schema1", "manifest.v1+prettyjws\", which is no image manifest"},
      {"chart", "helm.chart.content.v1.tar+gzip\", which is no layer"},
      {"both", "both manifests and layers"},
      {"nested", "which is no SHA-256 digest"},
      {"falseindex", "has the digest"},
      {"twolayers", "2 layers, but the configuration speaks of 1"},
      {"sha0", "which is no SHA-256 digest"},
      {"nosize", "gives no size"},
      {"negative", "gives no size"},
      {"larger", "larger than the 10 bytes"},
      {"hugeconfig", "more than the 4194304 allowed"},
      {"hugelayer", "no space left on device"},
      {"notconfig", "image configuration cannot be read"},
      {"wrong", "is damaged: its digest is"},
      {"falsediff", "but the image says"},
  };
  registry_t r = begin(NULL);
  ALL(&r, cases);
  end(&r);
}

Test(registry, layers_that_mean_harm) {
  static const expected_t cases[] = {
      {"climbs", "leaves its directory"}, {"linked", "could not be made"},    {"hardlink", "leaves its directory"},
      {"outside", "could not be linked"}, {"device", "takes for a whiteout"}, {"deep", "leaves its directory"},
      {"bomb", "taken for a bomb"},
  };
  registry_t r = begin(NULL);
  ALL(&r, cases);
  cr_expect(access("/tmp/kogge-was-here", F_OK) != 0);
  end(&r);
}

Test(registry, stalls) {
  registry_t r = begin("{\"pullStallSeconds\": 1}");
  refused(&r, "stalls", "less than 1024 bytes a second for 1 s");
  end(&r);
  r = begin("{\"pullStallSeconds\": 1, \"pullMinBytesPerSecond\": 3}");
  refused(&r, "layerstalls", "less than 3 bytes a second for 1 s");
  end(&r);
}

Test(registry, slow_but_steady) {
  registry_t r = begin("{\"pullTimeoutSeconds\": 1}");
  refused(&r, "trickles", "takes longer than the 1 s that config.pullTimeoutSeconds allows");
  end(&r);
}

Test(registry, the_configured_maximum) {
  registry_t r = begin("{\"maxLayerMiB\": 8}");
  refused(&r, "big", "larger than the 8 MiB that config.maxLayerMiB allows");
  end(&r);
}

/* What is no bomb does not fill the disk either. */
Test(registry, a_disk_that_is_small) {
  registry_t r = begin(NULL);
  cr_assert(mount("tmpfs", r.store, "tmpfs", 0, "size=48m") == 0);
  shell("mkdir %s/layers %s/images %s/tmp", r.store, r.store, r.store);
  refused(&r, "big", "no space left on device: images have");
  cr_expect(umount(r.store) == 0);
  end(&r);
}

static void same_image(int i, char **args, char **doc, void *arg) {
  const registry_t *r = arg;
  (void)i, (void)doc;
  cr_assert(asprintf(args, "{\"image\": \"127.0.0.1:%d/h/good:1\"}", r->port) > 0);
}

/* Fifty pods of one image on one node. */
Test(registry, pulled_many_times_at_once_a_layer_comes_once) {
  registry_t r = begin(NULL);
  cr_expect(driver_burst(r.n->d, "runtime", "image.pull", 20, same_image, &r, NULL) == 20);
  cr_expect(shell("test $(grep -c 'layer of good' %s/port) = 1", r.n->dir) == 0);
  end(&r);
}

/* The honest answer of the same registry is taken. */
Test(registry, and_one_that_does_not) {
  registry_t r = begin(NULL);
  must(r.n, "image.pull", "{'image': '127.0.0.1:%d/h/good:1'}", r.port);
  must(r.n, "image.status", "{'image': '127.0.0.1:%d/h/good:1'}", r.port);
  must(r.n, "runtime.sandbox.run", "{'id': 's', 'uid': 'u', 'hostname': 'h', 'hostNetwork': true}");
  kg_msg_t *m =
      ask_good(r.n, "runtime.container.create",
               "{'id': 'c', 'sandbox': 's', 'name': 'c', 'image': '127.0.0.1:%d/h/good:1', 'command': ['/file'], "
               "'logPath': '%s/c.log'}",
               r.port, r.n->dir);
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "imageID"));
  cr_expect(id.n > 80 && memmem(id.p, id.n, "/h/good@sha256:", 15), "as Kubernetes names it: " KG_STR_FMT,
            KG_STR_ARG(id));
  kg_msg_unref(m);
  node_restart(r.n);
  char *json = listed(r.n, "containers", "c");
  cr_expect(json && strstr(json, "/h/good@sha256:"), "%s", json);
  free(json);
  free(must_fail(r.n, KG_ECONFLICT, "image.remove", "{'image': '127.0.0.1:%d/h/good:1'}", r.port));
  stop_all(r.n, "s", "c");
  cr_expect(!store_is_empty(&r));
  end(&r);
}

/* --- mirrors, credentials and certificates: registries.yaml --------------------------------------------------------
 */

/* Says what is in the file that config.registries names; read anew for each pull. */
static void KG_PRINTF(1, 2) settings(const char *fmt, ...) {
  char path[96], text[1000];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  snprintf(path, sizeof path, "/tmp/kogge-registries-%d.yaml", (int)getpid());
  FILE *f = fopen(path, "we");
  cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static registry_t begin_with_settings(const char *certificate) {
  char config[96];
  snprintf(config, sizeof config, "{\"registries\": \"/tmp/kogge-registries-%d.yaml\"}", (int)getpid());
  return begin_with(config, certificate);
}

static void end_settings(registry_t *r) {
  end(r);
  shell("rm -f /tmp/kogge-registries-%d.yaml", (int)getpid());
}

static void pulls(const registry_t *r, const char *image) {
  must(r->n, "image.pull", "{'image': '%s'}", image);
  must(r->n, "image.status", "{'image': '%s'}", image);
  must(r->n, "image.remove", "{'image': '%s'}", image);
}

static void fails(const registry_t *r, const char *image, const char *why) {
  kg_msg_t *m = ask(r->n, "image.pull", "{'image': '%s'}", image);
  cr_expect(kg_msg_type(m) == KG_MSG_ERROR && strstr(kg_msg_text(m), why), "%s: %s", image, kg_msg_text(m));
  kg_msg_unref(m);
}

Test(registry, mirrors_are_tried_in_their_order_and_the_registry_last) {
  registry_t r = begin_with_settings("");
  settings("mirrors:\n  example.invalid:\n    endpoint: ['http://127.0.0.1:1', 'http://127.0.0.1:%d/']\n", r.port);
  pulls(&r, "example.invalid/h/good:1");
  fails(&r, "example.invalid/h/endless404:1", "resolve host"); /* the registry itself was asked, too */
  settings("mirrors:\n  '*':\n    endpoint: ['http://127.0.0.1:%d/v2']\n    rewrite: {'^(team)/(.*)$': 'h/$2'}\n",
           r.port);
  pulls(&r, "other.invalid/team/good:1");
  settings("mirrors:\n  a.invalid:\n    endpoint: ['ftp://x']\n");
  fails(&r, "a.invalid/h/good:1", "\"ftp://x\" is no address of a registry");
  settings("mirrors: [");
  fails(&r, "a.invalid/h/good:1", ".yaml:");
  end_settings(&r);
}

Test(registry, a_mirror_that_sends_rubbish_does_not_hinder_the_registry) {
  registry_t r = begin_with_settings("");
  settings("mirrors:\n  '127.0.0.1:%d':\n    endpoint: ['http://127.0.0.1:%d']\n    rewrite: {'^h/good$': 'h/wrong'}\n",
           r.port, r.port);
  char image[64];
  snprintf(image, sizeof image, "127.0.0.1:%d/h/good:1", r.port);
  pulls(&r, image);
  end_settings(&r);
}

Test(registry, configured_credentials) {
  registry_t r = begin_with_settings("");
  char image[64];
  snprintf(image, sizeof image, "127.0.0.1:%d/h/locked:1", r.port);
  settings("configs: {}\n");
  fails(&r, image, "pull access denied");
  settings("configs: {'127.0.0.1:%d': {auth: {username: ann, password: secret}}}\n", r.port);
  pulls(&r, image);
  settings("configs: {'*': {auth: {auth: YW5uOnNlY3JldA==}}}\n");
  pulls(&r, image);
  /* What a pod brings goes first, and not to mirrors. */
  must(r.n, "image.pull", "{'image': '%s', 'auth': {'username': 'ann', 'password': 'secret'}}", image);
  free(must_fail(r.n, KG_EDENIED, "image.pull", "{'image': '%s', 'auth': {'username': 'ann', 'password': 'false'}}",
                 image));
  settings("mirrors: {m.invalid: {endpoint: ['http://127.0.0.1:%d']}}\n", r.port);
  char *text = must_fail(r.n, KG_EUNAVAILABLE, "image.pull",
                         "{'image': 'm.invalid/h/locked:1', 'auth': {'username': 'ann', 'password': 'secret'}}");
  cr_expect(strstr(text, "m.invalid") && strstr(text, "pull access denied"), "%s", text);
  free(text);
  end_settings(&r);
}

Test(registry, a_certificate_of_ones_own) {
  char pem[64], image[64];
  snprintf(pem, sizeof pem, "/tmp/kogge-registry-%d.pem", (int)getpid());
  cr_assert(shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
                  "-addext subjectAltName=IP:127.0.0.1 -keyout %s.key -out %s.crt 2>/dev/null && cat %s.crt %s.key >%s",
                  pem, pem, pem, pem, pem) == 0);
  registry_t r = begin_with_settings(pem);
  snprintf(image, sizeof image, "tls.invalid/h/good:1");
  char rest[200];
  settings("mirrors: {tls.invalid: {endpoint: ['https://127.0.0.1:%d']}}\n", r.port);
  fails(&r, image, "self-signed certificate");
  snprintf(rest, sizeof rest, "configs: {'127.0.0.1:%d': {tls: {ca_file: %s.crt}}}\n", r.port, pem);
  settings("mirrors: {tls.invalid: {endpoint: ['https://127.0.0.1:%d']}}\n%s", r.port, rest);
  pulls(&r, image);
  snprintf(rest, sizeof rest, "configs: {'127.0.0.1:%d': {tls: {insecure_skip_verify: true}}}\n", r.port);
  settings("mirrors: {tls.invalid: {endpoint: ['https://127.0.0.1:%d']}}\n%s", r.port, rest);
  pulls(&r, image);
  end_settings(&r);
  shell("rm -f %s %s.key %s.crt", pem, pem, pem);
}
