/*
** door: the proxy's port on 127.0.0.1 and on ::1, which can be open, refuse
** connections, or leave them waiting. Where there is no IPv6 there is one door.
*/
#ifndef door_h
#define door_h

#include <netinet/in.h>
#include <sys/socket.h>

typedef struct door {
  int keeper; /* bound, never listening: the port is ours; -1: no door */
  int fd;     /* listening, or -1 */
  int filler; /* the connection that fills the queue, or -1 */
  int mode;   /* OPEN, REFUSE, FULL */
  struct sockaddr_storage address;
  socklen_t address_len;
} door;

/* Takes the same free port for both; they refuse at first. */
in_port_t door_find(door doors[2]);

/* OPEN, REFUSE or FULL from here on. */
void door_set(door *to, int mode);

#endif
