#ifndef TEST_DRIVER_H
#define TEST_DRIVER_H
/* A kernel with plugins under test and one plugin of the test's own, through which the test's thread sends requests and
 * waits. */
#include "kogge/host.h"
#include "kube/json.h"

typedef struct driver driver_t;
typedef struct stream stream_t;

driver_t *driver_new(const char *data_dir, const char *run_dir);
/* config: JSON text or NULL. Fails the test when the plugin does not come up. */
void driver_load(driver_t *d, const char *name, const char *file, const char *config);
kg_kernel_t *driver_kernel(driver_t *d);
void driver_free(driver_t *d);

/* Sends and waits up to 10 s; the caller owns the answer (REPLY or ERROR). args and doc: JSON text or NULL. */
kg_msg_t *driver_call(driver_t *d, const char *service, const char *topic, const char *args, const char *doc);
/* Sends n requests at once, waits for all answers; fn says the arguments (JSON, malloc'ed) and document of each.
 * Returns how many were REPLY. */
typedef void (*driver_fill_fn)(int i, char **args, char **doc, void *arg);
int driver_burst(driver_t *d, const char *service, const char *topic, int n, driver_fill_fn fn, void *arg,
                 int64_t *took_us);

/* manual: credit is granted by stream_credit only. */
stream_t *driver_stream(driver_t *d, const char *service, const char *topic, const char *args, uint32_t credit,
                        bool manual);
kg_msg_t *stream_next(stream_t *s, int timeout_ms); /* owned; NULL: nothing came */
void stream_credit(stream_t *s, uint32_t n);
void stream_close(stream_t *s);

/* Values of answers. */
int64_t reply_int(const kg_msg_t *m, const char *key);
char *doc_json(const kg_msg_t *m, size_t i); /* JSON of attachment i, malloc'ed */
#endif
