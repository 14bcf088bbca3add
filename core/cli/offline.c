/* Words that can do something without a server: the plugin runs in a kernel of this process for one command. */
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

typedef struct asking {
  char service[300];
  kg_doc_t *args;
  int (*show)(kg_view_t item, int code);
  int code;
  sem_t done;
} asking_t;

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  asking_t *a = self;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    a->code = a->show(kg_msg_args(m), a->code);
    return;
  }
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    fprintf(stderr, "kogge: %s\n", kg_msg_text(m));
    a->code = 1;
  }
  sem_post(&a->done);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)err;
  *self = (void *)(intptr_t)kg_view_int(kg_view_get(kg_config(ctx), "asking"), 0);
  return 0;
}

static void activate(kg_ctx_t *ctx, void *self) {
  asking_t *a = self;
  kg_send(ctx,
          &(kg_request_t){.service = a->service, .topic = "cli.run", .args = a->args, .stream = true, .fn = answered});
}

static kg_doc_t *config_of(const char *socket, const asking_t *a) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "offline", socket); /* where no server answers */
  if (a) kg_pack_kv_int(&p, "asking", (int64_t)(intptr_t)a);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static int run(kg_kernel_t *k, const char *socket, const char *word, const char *file, asking_t *a, kg_error_t *err) {
  static const kg_plugin_t asker = {.magic = KG_PLUGIN_MAGIC,
                                    .abi = KG_PLUGIN_ABI,
                                    .size = sizeof(kg_plugin_t),
                                    .name = "asker",
                                    .role = "asker",
                                    .version = "1",
                                    .create = create,
                                    .activate = activate};
  kg_doc_t *offline = config_of(socket, NULL), *own = config_of(socket, a);
  int rc = kg_kernel_load(k, &(kg_plugin_spec_t){.name = word, .file = file, .config = offline}, err);
  if (rc == 0) rc = kg_kernel_load(k, &(kg_plugin_spec_t){.name = "asker", .descriptor = &asker, .config = own}, err);
  if (rc == 0) sem_wait(&a->done);
  kg_doc_unref(offline);
  kg_doc_unref(own);
  return rc;
}

int cli_offline(cli_t *cli, const char *word, kg_doc_t *args, int (*show)(kg_view_t item, int code)) {
  char socket[PATH_MAX], file[PATH_MAX + 300], *plugins = cli_plugin_path(cli, NULL);
  snprintf(socket, sizeof socket, "%s/kogge.sock", cli->run_dir);
  snprintf(file, sizeof file, "%s/%.200s.so", plugins ? plugins : ".", word);
  free(plugins);
  if (strchr(word, '/') || access(socket, F_OK) == 0 || access(file, R_OK) != 0) return -1;
  kg_error_t err = {0};
  kg_kernel_t *k = kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR}, &err);
  asking_t a = {.args = args, .show = show};
  snprintf(a.service, sizeof a.service, "cli/%.200s", word);
  sem_init(&a.done, 0, 0);
  int rc = k ? run(k, socket, word, file, &a, &err) : -1;
  if (k) kg_kernel_free(k);
  sem_destroy(&a.done);
  if (rc < 0) fprintf(stderr, "kogge: %s\n", err.text);
  return rc < 0 ? 1 : a.code;
}
