/*
 * Single Ethernet frames out of an interface (AF_PACKET): gratuitous ARP, unsolicited NA, RARP.
 * Not for data: one system call a frame.
 */
#ifndef FRAME_SOCKET_H
#define FRAME_SOCKET_H

#include "handles.h"

napi_value send_frame(napi_env env, napi_callback_info info);

#endif
