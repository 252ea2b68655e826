/**
 * Numbers assigned by IANA or by an RFC, in one place: ports, message types, address families,
 * LCAF types (RFC 9301 §12, RFC 9304 §5, RFC 8060 §6).
 *
 * ACT codes are the order of `ACTIONS` in mapping.ts. Flag bits stand next to the diagram of their
 * message. Nothing here is configurable.
 */

/** RFC 9300 §4: data packets. Never an inner port of an Encapsulated Control Message. */
export const LISP_DATA_PORT = 4341
/** RFC 9301 §5. */
export const LISP_CONTROL_PORT = 4342

/** Top four bits of the first octet, RFC 9301 §12.1; 9–14 are unassigned. */
export const MESSAGE_TYPE = {
  mapRequest: 1,
  mapReply: 2,
  mapRegister: 3,
  mapNotify: 4,
  mapNotifyAck: 5,
  /** RFC 8111 §6. */
  mapReferral: 6,
  /** Unassigned in RFC 9301; Info-Request and Info-Reply of every NAT traversal in use. */
  info: 7,
  encapsulatedControl: 8,
  sharedExtension: 15,
} as const

/**
 * Shared Extension sub-type of our Move message. Choice: a number of the first-come first-served
 * range 1024–4095 (RFC 9304 §5) that no registration is known for; not assigned to us.
 */
export const MOVE_SUB_TYPE = 1024 + 0x4d5

/** Address family numbers that a LISP message may carry. */
export const AFI = {
  none: 0,
  ipv4: 1,
  ipv6: 2,
  mac: 6,
  distinguishedName: 17,
  lcaf: 16387,
} as const

/** LCAF types, RFC 8060 §6, RFC 9306, RFC 10040; the bodies of 4, 6, 8, 14–16 are RFC 8060 §5. */
export const LCAF_TYPE = {
  nullBody: 0,
  afiList: 1,
  instanceId: 2,
  asNumber: 3,
  applicationData: 4,
  geoCoordinates: 5,
  opaqueKey: 6,
  natTraversal: 7,
  nonceLocator: 8,
  multicastInfo: 9,
  explicitLocatorPath: 10,
  securityKey: 11,
  sourceDestKey: 12,
  replicationList: 13,
  json: 14,
  keyValue: 15,
  encapsulationFormat: 16,
  geoLocation: 17,
  vendor: 255,
} as const

/** Internet protocol number of UDP. */
export const PROTOCOL_UDP = 17
