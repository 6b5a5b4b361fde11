/*
** names: a name server on a port of 127.0.0.1, for a resolver that asks one.
** Every name is 127.0.0.1, but who begins with "unknown" is not there, about
** "silent" nothing is said, and about "late" not at once.
*/
#ifndef names_h
#define names_h

#include <netinet/in.h>

/* Opens it on a free port; its descriptor. */
int names_open(in_port_t *port);

/* Answers a question that is there. */
void names_answer(int fd);

#endif
