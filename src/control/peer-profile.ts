/**
 * What peers of other makes do otherwise than the RFCs say, and what we therefore forgive them or say
 * to them: one row of data per profile, consulted at named points and nowhere else.
 *
 * Strict is the default and forgives nothing. A profile belongs to a site (what its ETRs may do when
 * they register) or to a Map-Server that we register at. Lengths of authentication data are no
 * matter of profiles: truncated and whole ones (12 or 20, 16 or 32 bytes) are accepted from everybody.
 * The quirks were read in the sources of those implementations; those of Cisco are taken from what it
 * documents and are not verified.
 */
import type { NodeConfig, SiteConfig } from '../config/node-config.js'
import type { PeerProfileName } from '../config/schema.js'
import type { AuthenticationKey } from '../lisp/authentication.js'

export interface PeerProfile {
  /**
   * Map-Server, register-guard.ts: nonces of Map-Registers need not rise (RFC 9301 §5.6). lispers.net
   * begins at a constant in each cycle, VPP and OOR mix clock and random bits. Opens replay.
   */
  readonly anyNonce: boolean
  /**
   * Map-Server, register-guard.ts: key ID 0 stands for whichever key of the site has the algorithm.
   * Peers of the RFC 6830 era know one 16-bit field "Key ID" whose value is the algorithm, so the
   * octet that is the key ID today is always 0.
   */
  readonly keyIdZeroMeansAny: boolean
  /** ETR, registrar.ts: send key ID 0 for the same reason, whatever ours is called. */
  readonly sendKeyIdZero: boolean
  /** ETR, registrar.ts: send the whole HMAC (20 or 32 bytes) instead of the truncated one. */
  readonly sendWholeMac: boolean
  /**
   * Map-Server, map-register-handling.ts: answer a Map-Register to the port it came from (RFC 9301 §5)
   * instead of 4342 (§5.7); such peers sit behind NATs or register from an ephemeral port.
   */
  readonly notifyToSourcePort: boolean
  /**
   * Map-Server, map-register-handling.ts: the a bit is not acted on. OpenDaylight's peers clear what
   * others have merged with a register without it, so that mixing both loses locators.
   */
  readonly ignoreMergeBit: boolean
}

const STRICT: PeerProfile = {
  anyNonce: false,
  keyIdZeroMeansAny: false,
  sendKeyIdZero: false,
  sendWholeMac: false,
  notifyToSourcePort: false,
  ignoreMergeBit: false,
}

/** What every implementation of the RFC 6830 era has in common. */
const RFC_6830: PeerProfile = {
  ...STRICT,
  anyNonce: true,
  keyIdZeroMeansAny: true,
  sendKeyIdZero: true,
  sendWholeMac: true,
}

export const PEER_PROFILE: { readonly [name in PeerProfileName]: PeerProfile } = {
  strict: STRICT,
  rfc6830: RFC_6830,
  // Puts a key ID of its own into what RFC 9301 reserves, so that ours is always 0 in its eyes.
  'lispers-net': { ...RFC_6830, notifyToSourcePort: true },
  // Merges by xTR-ID and would be told to; its own registers without the bit undo the merge.
  opendaylight: { ...RFC_6830, ignoreMergeBit: true },
  // Nonces rise, key IDs are 16 bits wide.
  cisco: { ...RFC_6830, anyNonce: false },
}

/** The profile of a Map-Server that we register at. */
export function mapServerProfile(server: { readonly profile?: PeerProfileName }): PeerProfile {
  return PEER_PROFILE[server.profile ?? 'strict']
}

/** The key of a Map-Server as that Map-Server calls it. */
export function keyTowards(server: NodeConfig['mapServers'][number]): AuthenticationKey {
  return mapServerProfile(server).sendKeyIdZero ? { ...server.key, keyId: 0 } : server.key
}

/** The profile of a site; `legacyNonces` is the older name of one of its parts. */
export function siteProfile(site: SiteConfig): PeerProfile {
  const profile = PEER_PROFILE[site.profile ?? 'strict']
  return site.legacyNonces ? { ...profile, anyNonce: true } : profile
}
