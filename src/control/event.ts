/**
 * Facts that happened, in the past tense: the only observability primitive.
 *
 * Logs, `/v1/events`, counters and the timeline of a move all derive from these. `name` is closed
 * and kebab-case, noun first; other fields are camelCase with units and plain JSON values (addresses
 * as canonical text). An `if` that discards something without an event is a bug.
 */
export type Severity = 'debug' | 'info' | 'notice' | 'warning' | 'error'

export interface Event {
  readonly name: EventName
  readonly severity: Severity
  /** Closed set of kebab-case words per event name; becomes the `reason` label of its counter. */
  readonly reason?: string
  readonly [field: string]: string | number | boolean | readonly string[] | undefined
}

export const EVENT_NAMES = [
  // what came in and was not used
  'datagram-ignored',
  // map-cache
  'map-request-sent',
  'map-request-received',
  'map-reply-received',
  'map-reply-rejected',
  'mapping-installed',
  'mapping-removed',
  'resolution-failed',
  'hold-released',
  'hold-dropped',
  // mapping database and registration
  'eid-hinted',
  'eid-hint-ignored',
  'eid-arrived',
  'eid-departed',
  'eid-removed',
  'map-register-sent',
  'registration-acknowledged',
  'registration-unacknowledged',
  'registration-refused',
  // Map-Server
  'registration-added',
  'registration-changed',
  'registration-expired',
  'registration-removed',
  'map-register-rejected',
  'map-notify-sent',
  'map-notify-received',
  'map-notify-rejected',
  'map-notify-unacknowledged',
  // publish/subscribe (RFC 9437)
  'subscription-added',
  'subscription-renewed',
  'subscription-removed',
  'subscription-refused',
  'subscription-confirmed',
  'publication-sent',
  'publication-unacknowledged',
  'publication-received',
  'publication-rejected',
  // multicast (RFC 8378), at an xTR and at a Map-Server
  'querier-elected',
  'querier-version-differs',
  'membership-ignored',
  'group-joined',
  'group-left',
  'group-refused',
  'group-followed',
  'groups-arrived',
  'group-unfollowed',
  'replication-installed',
  'replication-removed',
  'replication-entries-ignored',
  'group-registered',
  'group-withdrawn',
  'group-expired',
  'relay-silent',
  'relay-answers',
  'group-register-rejected',
  'group-request-suppressed',
  // PIM (RFC 7761, RFC 6831)
  'pim-neighbour-found',
  'pim-neighbour-lost',
  'pim-ignored',
  'join-sent',
  'join-received',
  'join-refused',
  // Map-Resolver
  'map-request-forwarded',
  'map-reply-sent',
  'map-reply-suppressed',
  // delegation tree (RFC 8111)
  'map-referral-sent',
  'map-referral-suppressed',
  'map-referral-received',
  'map-referral-rejected',
  'ddt-request-sent',
  'ddt-walk-ended',
  // SMR and locators
  'smr-sent',
  'smr-received',
  'smr-suppressed',
  'locator-up',
  'locator-down',
  'path-mtu-lowered',
  'path-mtu-forgotten',
  'path-mtu-ignored',
  // closed networks
  'source-doubted',
  'source-gleaned',
  'status-bits-changed',
  'stale-sender-refused',
  // moves
  'move-requested',
  'move-prepared',
  'move-refused',
  'move-source-copying',
  'move-endpoint-stopped',
  'move-source-redirected',
  'move-source-silent',
  'move-endpoint-seen',
  'move-registered',
  'move-senders-solicited',
  'move-converged',
  'move-failed',
  'move-message-rejected',
  'eid-conflict',
  // shell
  'datapath-operation-failed',
  'configuration-reloaded',
  'interface-problem',
  'interface-mended',
  'interface-changed',
  'own-locators-changed',
  'node-started',
  'node-stopped',
] as const
export type EventName = (typeof EVENT_NAMES)[number]
