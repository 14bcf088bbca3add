#ifndef SERVER_H
#define SERVER_H
/* Small servers on loopback, each in a thread of its own; what they answer can change while they run. */
#include <stdbool.h>

typedef struct server server_t;
typedef enum { SERVE_HTTP, SERVE_HTTPS, SERVE_GRPC, SERVE_SILENCE } serve_t;

server_t *server_start(serve_t what);
void server_stop(server_t *s);
int server_port(const server_t *s);
/* HTTP: the whole answer ("HTTP/1.1 200 OK\r\n..."); a literal. gRPC: "1" serving, "2" not. */
void server_answer(server_t *s, const char *text);
int server_asked(server_t *s);                        /* how often */
bool server_was_asked(server_t *s, const char *text); /* the last request has this in it */

#endif
