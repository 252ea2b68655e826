/**
 * Who may speak: authentication, allowed prefixes and replay protection of Map-Registers.
 *
 * The site is found by the prefix of the first record, its keys decide whether the message is genuine,
 * and all records must lie inside that site (RFC 9301 §8.2). The nonce must rise per {xTR-ID or RLOC,
 * key ID} (RFC 9301 §5.6) and its last value survives restarts.
 *
 * Deviation: a nonce below the last one is no replay when it was never accepted and is at most 63
 * below, because datagrams overtake each other, and an ETR says each thing in one message (RFC 9301
 * §5.6 drops it, and the ETR would have to say it again). What such a late message may still change is
 * decided in version-fence.ts. After a restart only higher nonces count.
 *
 * Nonces of pure refreshes are written lazily, in batches. What a crash can lose is then at most the
 * last seconds of refreshes, and replaying one of those changes nothing: if the sender is still the
 * owner, it extends a registration that the sender wants; if it is not, the version fence refuses it.
 * The one exception, a refresh with the null version of an owner replaced since, is closed by writing
 * the nonces of the previous owners in the same transaction as the claim (`durableNonces`).
 */
import type { NodeConfig, SiteConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import {
  type AuthenticationKey,
  authenticationCoverage,
  type Hmac,
} from '../../lisp/authentication.js'
import type { EidPrefix } from '../../lisp/eid.js'
import type { MapRegister } from '../../lisp/message.js'
import { createEidTrie } from '../../tables/eid-trie.js'
import type { Input } from '../input-output.js'
import { siteProfile } from '../peer-profile.js'
import type { StoredRecord } from '../stored-record.js'

/** A datagram as the shell hands it in. */
export type Datagram = Extract<Input, { readonly kind: 'datagram' }>

/** A configured prefix and the site it belongs to. */
export interface SitePrefix {
  readonly site: SiteConfig
  readonly eidPrefix: EidPrefix
  readonly acceptMoreSpecifics: boolean
}

export type RejectionReason =
  | 'no-records'
  | 'prefix-not-configured'
  | 'prefix-not-allowed'
  | 'unknown-key'
  | 'authentication-failed'
  | 'xtr-not-allowed'
  | 'replayed'
  | 'repeated-too-often'
  | 'too-many-senders'

export type Admission =
  | {
      readonly ok: true
      readonly site: SiteConfig
      readonly key: AuthenticationKey
      /** xTR-ID in hex, or an RLOC of the sender as text. */
      readonly owner: string
      /** Names {site, owner, key ID}: whose nonces must rise. */
      readonly sender: string
      /** The very message that was accepted last, come again: to be answered, not to be applied. */
      readonly repeated: boolean
      /** Overtaken by a later message of the same sender: what that one said stands. */
      readonly late: boolean
    }
  | { readonly ok: false; readonly reason: RejectionReason; readonly site: string | undefined }

export interface RegisterGuard {
  /** The configured prefix that covers this one, undefined outside all sites. */
  sitePrefix(eidPrefix: EidPrefix): SitePrefix | undefined
  /** The largest prefix around the address that overlaps no configured prefix (RFC 9301 §8.4). */
  hole(eidPrefix: EidPrefix): EidPrefix | undefined
  admit(message: MapRegister, datagram: Datagram): Admission
  /** The same for records that say nothing of the site: is it genuine of one of these? */
  admitFrom(sites: readonly SiteConfig[], message: MapRegister, datagram: Datagram): Admission
  /** Remembers the nonce of an admitted message; it is to be written sometime. */
  accept(admission: Extract<Admission, { ok: true }>, message: MapRegister): void
  /** Records to be written now, because what they guard is written now. */
  durableNonces(senders: Iterable<string>): StoredRecord[]
  /** At most `MAXIMUM_NONCES_PER_WRITE` nonces that are not written yet. */
  dirtyNonces(): StoredRecord[]
  readonly dirtyCount: number
  restore(record: Extract<StoredRecord, { kind: 'last-nonce' }>): void
  /** The key with which `owner` spoke last, else the first of the site. */
  keyOf(site: string, owner: string): AuthenticationKey | undefined
}

/** Our choice: each sender costs some 200 bytes; only holders of a site's key can add one. */
export const MAXIMUM_SENDERS = 1_000_000
/** Our choice: with one key anybody can invent xTR-IDs; this many are no use to other sites. */
const MAXIMUM_SENDERS_PER_SITE = 50_000
/** Our choice: an ETR that resends 1, 2, 4 … 60 s apart has given up or registered anew by then. */
const MAXIMUM_REPEATED_ANSWERS = 16
/** Our choice, the least that IPsec asks of its receivers (RFC 4303 §3.4.3: 32 or 64). */
const WINDOW_NONCES = 64n
const ALL_SEEN = (1n << WINDOW_NONCES) - 1n
/** Bounds the size of one write. */
const MAXIMUM_NONCES_PER_WRITE = 10_000

export function createRegisterGuard(config: NodeConfig, hmac: Hmac): RegisterGuard {
  const sites = new Map(config.mapServer.sites.map((site) => [site.name, site]))
  const prefixes = sitePrefixes(config.mapServer.sites)
  const senders = new Map<string, Sender>()
  const perSite = new Map<string, number>()
  const dirty = new Set<string>()

  const countSender = (site: string): void => {
    perSite.set(site, (perSite.get(site) ?? 0) + 1)
  }

  const refuse = (reason: RejectionReason, site?: string): Admission => ({
    ok: false,
    reason,
    site,
  })

  const covers = (site: SiteConfig, eidPrefix: EidPrefix): boolean => {
    const found = prefixes.longestCovering(eidPrefix)?.value
    if (found?.site !== site) return false
    return found.acceptMoreSpecifics || found.eidPrefix.maskLength === eidPrefix.maskLength
  }

  /** @param objection what is wrong with it although it is genuine */
  function authenticated(
    candidates: readonly SiteConfig[],
    message: MapRegister,
    datagram: Datagram,
    objection?: RejectionReason,
  ): Admission {
    const found = signerOf(candidates, message, datagram, hmac)
    if (typeof found === 'string') return refuse(found, candidates[0]?.name)
    const { site, key, xtrIdCovered } = found
    const xtrId = xtrIdCovered ? message.identity?.xtrId : undefined
    const owner = xtrId === undefined ? ownerByLocator(message, datagram) : hexOf(xtrId)
    if (site.xtrIds.length > 0 && (xtrId === undefined || !site.xtrIds.includes(owner))) {
      return refuse('xtr-not-allowed', site.name)
    }
    if (objection !== undefined) return refuse(objection, site.name)
    const sender = senderName(site.name, owner, key.keyId)
    const admitted = { ok: true, site, key, owner, sender, late: false } as const
    const last = senders.get(sender)
    if (siteProfile(site).anyNonce) return { ...admitted, repeated: false }
    if (last === undefined) {
      const isFull =
        senders.size >= MAXIMUM_SENDERS || (perSite.get(site.name) ?? 0) >= MAXIMUM_SENDERS_PER_SITE
      if (isFull) return refuse('too-many-senders', site.name)
      return { ...admitted, repeated: false }
    }
    if (message.nonce > last.nonce) return { ...admitted, repeated: false }
    if (isOvertaken(last, message.nonce)) return { ...admitted, repeated: false, late: true }
    if (!isLastMessage(last, message)) return refuse('replayed', site.name)
    // RFC 9301 §5.7: an ETR that missed the Map-Notify sends the same message again.
    if (last.repeats >= MAXIMUM_REPEATED_ANSWERS) return refuse('repeated-too-often', site.name)
    last.repeats += 1
    return { ...admitted, repeated: true }
  }

  return {
    sitePrefix: (eidPrefix) => prefixes.longestCovering(eidPrefix)?.value,
    hole: (eidPrefix) => prefixes.leastSpecificHole(eidPrefix),

    admit(message, datagram) {
      const first = message.records[0]
      if (first === undefined) return refuse('no-records')
      const site = prefixes.longestCovering(first.eidPrefix)?.value.site
      if (site === undefined) return refuse('prefix-not-configured')
      if (!message.records.every((record) => covers(site, record.eidPrefix)))
        return authenticated([site], message, datagram, 'prefix-not-allowed')
      return authenticated([site], message, datagram)
    },
    admitFrom: (candidates, message, datagram) => authenticated(candidates, message, datagram),

    accept(admission, message) {
      if (siteProfile(admission.site).anyNonce) return
      const last = senders.get(admission.sender)
      if (last !== undefined && admission.late) {
        last.seen |= 1n << (last.nonce - message.nonce)
        return
      }
      if (last === undefined) countSender(admission.site.name)
      senders.set(admission.sender, {
        nonce: message.nonce,
        seen: last === undefined ? 1n : seenAfter(last, message.nonce),
        authenticationData: new Uint8Array(message.authenticationData),
        repeats: 0,
      })
      dirty.add(admission.sender)
    },
    durableNonces(names) {
      const records: StoredRecord[] = []
      for (const sender of names) {
        const last = senders.get(sender)
        if (last === undefined || !dirty.delete(sender)) continue
        records.push({ kind: 'last-nonce', sender, nonce: last.nonce })
      }
      return records
    },
    dirtyNonces() {
      const records: StoredRecord[] = []
      for (const sender of dirty) {
        if (records.length >= MAXIMUM_NONCES_PER_WRITE) break
        dirty.delete(sender)
        records.push({ kind: 'last-nonce', sender, nonce: senders.get(sender)!.nonce })
      }
      return records
    },
    get dirtyCount() {
      return dirty.size
    },
    restore(record) {
      const known = senders.get(record.sender)
      if (known !== undefined && known.nonce >= record.nonce) return
      const nothing = new Uint8Array(0)
      if (known === undefined) countSender(record.sender.slice(0, record.sender.indexOf('/')))
      // Which of the earlier ones had come is not stored: all of them, to be safe.
      const seen = ALL_SEEN
      const { nonce } = record
      senders.set(record.sender, { nonce, seen, authenticationData: nothing, repeats: 0 })
    },
    keyOf(siteName, owner) {
      const site = sites.get(siteName)
      const spoken = site?.keys.filter((key) => senders.has(senderName(siteName, owner, key.keyId)))
      return spoken?.[0] ?? site?.keys[0]
    },
  }
}

/** Whose nonces are counted together. */
export function senderName(site: string, owner: string, keyId: number): string {
  return `${site}/${owner}/${keyId}`
}

interface Sender {
  /** The highest accepted. */
  nonce: bigint
  /** Bit n: the nonce n below the highest was accepted. */
  seen: bigint
  /** Of the message with that nonce; empty after a restart. */
  authenticationData: Uint8Array
  repeats: number
}

/** Whether the nonce is below the highest, within the window, and was never accepted. */
function isOvertaken({ nonce: highest, seen }: Sender, nonce: bigint): boolean {
  const below = highest - nonce
  return below > 0n && below < WINDOW_NONCES && (seen & (1n << below)) === 0n
}

function seenAfter({ nonce: highest, seen }: Sender, nonce: bigint): bigint {
  const rise = nonce - highest
  return rise >= WINDOW_NONCES ? 1n : ((seen << rise) | 1n) & ALL_SEEN
}

function sitePrefixes(sites: readonly SiteConfig[]) {
  const trie = createEidTrie<SitePrefix>()
  for (const site of sites) {
    for (const { eidPrefix, acceptMoreSpecifics } of site.prefixes) {
      trie.insert(eidPrefix, { site, eidPrefix, acceptMoreSpecifics })
    }
  }
  return trie
}

/** The keys of the site that the message can mean; with its own key ID, so that answers copy it. */
function keysFor(site: SiteConfig, message: MapRegister): AuthenticationKey[] {
  const anyId = message.keyId === 0 && siteProfile(site).keyIdZeroMeansAny
  return site.keys
    .filter(({ keyId, algorithm }) => {
      return algorithm === message.algorithm && (anyId || keyId === message.keyId)
    })
    .map((key) => (key.keyId === message.keyId ? key : { ...key, keyId: message.keyId }))
}

/** Whose message it is, or why it is nobody's. */
function signerOf(
  sites: readonly SiteConfig[],
  message: MapRegister,
  datagram: Datagram,
  hmac: Hmac,
) {
  let reason: RejectionReason = 'unknown-key'
  for (const site of sites) {
    const keys = keysFor(site, message)
    if (keys.length === 0) continue
    const genuine = authenticate(keys, datagram.bytes, hmac)
    if (genuine !== undefined) return { site, ...genuine }
    reason = 'authentication-failed'
  }
  return reason
}

function authenticate(keys: readonly AuthenticationKey[], bytes: Uint8Array, hmac: Hmac) {
  for (const key of keys) {
    const coverage = authenticationCoverage(bytes, key, hmac)
    if (coverage !== undefined) return { key, xtrIdCovered: coverage === 'whole' }
  }
  return undefined
}

/**
 * Who a sender without a protected xTR-ID is: the first locator it calls its own (L bit). That is
 * covered by the authentication data, so that a replay from a forged source address meets the nonce
 * of the original; only a message without such a locator is known by its source address.
 */
function ownerByLocator(message: MapRegister, datagram: Datagram): string {
  for (const record of message.records) {
    const local = record.locators.find((locator) => locator.local)
    if (local !== undefined) return formatIpAddress(local.rloc)
  }
  return formatIpAddress(datagram.from)
}

/** Lower case, two digits a byte. */
export function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX_BYTES[byte]
  return text
}

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function isLastMessage(last: Sender, message: MapRegister): boolean {
  const now = message.authenticationData
  const then = last.authenticationData
  return (
    message.nonce === last.nonce &&
    now.length === then.length &&
    now.every((byte, index) => byte === then[index])
  )
}
