/*
 * The addon's face: which function has which name. The interface is src/datapath/native-addon.ts.
 *
 * Policy-free: bytes in and out of maps, programs onto interfaces, packets held and let go, datagrams
 * in batches. What bytes mean is known above; the one exception is struct lisp_hold_header, because
 * packets are held by EID. Plain C on Node-API 8 and libuv, both with a stable ABI: one file loads
 * on Node 20, 22 and 24.
 */
#include "../bpf/lisp_abi.h"
#include "bpf_maps.h"
#include "bpf_objects.h"
#include "event_ring.h"
#include "frame_reader.h"
#include "frame_socket.h"
#include "hold.h"
#include "udp_batch.h"

#include <string.h>

static napi_value abi_version(napi_env env, napi_callback_info info)
{
	(void)info;
	return number_value(env, LISP_ABI_VERSION);
}

static napi_value hmac(napi_env env, napi_callback_info info)
{
	uint8_t result[HMAC_MAXIMUM_BYTES];
	struct bytes key, data;
	napi_value arguments[3];
	enum hmac_hash hash;
	char name[16];
	size_t length;

	if (!read_arguments(env, info, 3, arguments) ||
	    !read_text(env, arguments[0], "hash", name, sizeof(name)) ||
	    !read_bytes(env, arguments[1], "key", &key) ||
	    !read_bytes(env, arguments[2], "data", &data))
		return NULL;
	hash = strcmp(name, "sha1") == 0 ? HMAC_SHA1 : HMAC_SHA256;
	if (hash == HMAC_SHA256 && strcmp(name, "sha256")) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE",
				      "hash must be 'sha1' or 'sha256'");
		return NULL;
	}
	length = hmac_compute(&instance_of(env)->hmac, hash, key.data, key.length, data.data,
			      data.length, result);
	return bytes_value(env, result, length);
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
		{ "abiVersion", abi_version },
		{ "openObject", open_object },
		{ "attach", attach },
		{ "detach", detach },
		{ "closeObject", close_object },
		{ "testRun", test_run },
		{ "updateMap", update_map },
		{ "updateMapBatch", update_map_batch },
		{ "deleteMap", delete_map },
		{ "lookupMap", lookup_map },
		{ "readMap", read_map },
		{ "startEvents", start_events },
		{ "closeEvents", close_events },
		{ "openHold", open_hold },
		{ "releaseHold", release_hold },
		{ "markHold", mark_hold },
		{ "dropHold", drop_hold },
		{ "holdStatistics", hold_statistics },
		{ "closeHold", close_hold },
		{ "sendFrame", send_frame },
		{ "openFrames", open_frames },
		{ "frameStatistics", frame_statistics },
		{ "closeFrames", close_frames },
		{ "openUdp", open_udp },
		{ "sendUdp", send_udp },
		{ "udpStatistics", udp_statistics },
		{ "closeUdp", close_udp },
		{ "hmac", hmac },
	};
	napi_value function;

	if (!instance_create(env)) {
		napi_throw_error(env, "ENOMEM", "no memory for the addon");
		return NULL;
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH,
					 functions[i].function, NULL, &function) == napi_ok)
			set_property(env, exports, functions[i].name, function);
	return exports;
}
