/**
 * The DDT node and the DDT side of a Map-Server: answers Map-Requests of Map-Resolvers (D bit in the
 * ECM) with a Map-Referral that says who knows more (RFC 8111 §6, §7.1, §7.2).
 *
 * Order of the rules: the longest of delegations and sites wins. A delegation: NODE-REFERRAL or
 * MS-REFERRAL. A site: registered → the request goes on to the ETR and MS-ACK is said, else
 * MS-NOT-REGISTERED. Neither, but within what this node is authoritative for: DELEGATION-HOLE with
 * the least specific prefix that overlaps nothing known. Else NOT-AUTHORITATIVE.
 *
 * Choices: the Map-Referral goes to where the ECM came from, address and port (the RFC names neither
 * port). A Map-Server is authoritative for its sites even when nothing else says so. Signing stands in
 * ddt-signing.ts.
 */
import type { DdtDelegation, NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import {
  type EidPrefix,
  eidFromPrefix,
  eidPrefix,
  formatEidPrefix,
  hostPrefix,
} from '../../lisp/eid.js'
import {
  type Locator,
  locator,
  type Rloc,
  sortLocators,
  structuredLocator,
} from '../../lisp/locator.js'
import type { ReferralRecord } from '../../lisp/map-referral.js'
import { type EncapsulatedControl, encodeMessage, type MapRequest } from '../../lisp/message.js'
import { createEidTrie } from '../../tables/eid-trie.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import type { ProtectedRequest } from '../lisp-sec/lisp-sec-requests.js'
import type { MapServer } from '../map-server/map-server.js'
import type { Datagram } from '../map-server/register-guard.js'
import { createRateLimit } from '../rate-limit.js'
import type { DdtSigning } from './ddt-signing.js'

export interface DdtNode {
  /**
   * Handles a Map-Request that came in an ECM with the D bit. False when it is registered by an ETR on
   * this very node, which is then to answer it; the Map-Referral has been sent all the same.
   */
  handleRequest(
    request: MapRequest,
    ecm: EncapsulatedControl,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
    security?: ProtectedRequest,
  ): boolean
}

/** RFC 8111 §6.4: minutes for which each kind of answer may be believed. */
const REFERRAL_TTL_MINUTES = {
  'node-referral': 1440,
  'ms-referral': 1440,
  'ms-ack': 1440,
  'ms-not-registered': 1,
  'delegation-hole': 15,
  'not-authoritative': 0,
} as const

/** Our choice: a busy Map-Resolver stays far below; a forged source is not worth more. */
const REFERRALS_PER_SOURCE = { burst: 500, refillPerSecond: 500, maximumKeys: 10_000 }

export function createDdtNode(
  config: NodeConfig,
  mapServer: MapServer | undefined,
  signing: DdtSigning | undefined,
): DdtNode {
  const { ddt } = config
  const delegations = createEidTrie<NodeConfig['ddt']['delegations'][number]>()
  for (const delegation of ddt.delegations) delegations.insert(delegation.eidPrefix, delegation)
  const areas = createEidTrie<true>()
  for (const area of ddt.authoritative) areas.insert(area, true)
  /** Everything that stands between holes. */
  const known = createEidTrie<true>()
  for (const { eidPrefix } of ddt.delegations) known.insert(eidPrefix, true)
  if (mapServer !== undefined) {
    for (const site of config.mapServer.sites)
      for (const { eidPrefix } of site.prefixes) known.insert(eidPrefix, true)
  }
  const perSource = createRateLimit(REFERRALS_PER_SOURCE)
  const own = sortLocators(config.rlocs.map(({ address }) => locator(address)))
  const peers = mapServerPeers(config)

  function hole(asked: EidPrefix): EidPrefix | undefined {
    const area = ddt.root ? 0 : areas.longestCovering(asked)?.prefix.maskLength
    const free = area === undefined ? undefined : known.leastSpecificHole(eidFromPrefix(asked))
    if (free === undefined || area === undefined) return undefined
    return eidPrefix(asked.instanceId, asked.address, Math.max(area, free.maskLength))
  }

  function answer(asked: EidPrefix): ReferralRecord {
    const delegation = delegations.longestCovering(asked)
    const site = mapServer?.standingOf(asked)
    const siteLength = site?.sitePrefix.maskLength ?? -1
    if (delegation !== undefined && delegation.prefix.maskLength > siteLength) {
      const { mapServers, nodes } = delegation.value
      // RFC 8111 §7.1.1: a set that holds Map-Servers is an MS-REFERRAL.
      const action = mapServers.length > 0 ? 'ms-referral' : 'node-referral'
      const set = [...mapServers, ...nodes].flatMap((rloc) => {
        return signing === undefined ? locator(rloc) : keyedLocators(rloc, delegation.value)
      })
      return record(action, delegation.prefix, set)
    }
    if (site !== undefined) {
      const kind = site.registered ? 'ms-ack' : 'ms-not-registered'
      const prefix = site.registered ? site.sitePrefix : site.hole
      return { ...record(kind, prefix, peers ?? own), incomplete: peers === undefined }
    }
    const free = hole(asked)
    if (free !== undefined) return record('delegation-hole', free, [])
    return { ...record('not-authoritative', asked, []), authoritative: false, incomplete: true }
  }

  return {
    handleRequest(request, ecm, datagram, now, outputs, security) {
      const first = request.records[0]
      const reject = (reason: string): true => {
        outputs.push(referralEvent('map-referral-suppressed', datagram, { reason }))
        return true
      }
      if (first === undefined) return reject('no-records')
      // RFC 9301 §5.2: a probe never comes through the mapping system.
      if (request.rlocProbe) return reject('probe-through-mapping-system')
      if (!perSource.take(formatIpAddress(datagram.from), now)) return reject('rate-limited')
      const asked = hostPrefix(eidFromPrefix(first.eidPrefix))
      const plain = answer(asked)
      const signed = signing === undefined ? plain : signing.sign(plain, now)
      if (signed === undefined) return reject('signing-limit')
      const { nonce } = request
      const bytes = encodeMessage({ kind: 'map-referral', nonce, records: [signed] })
      const { from: to, fromPort: toPort, to: from } = datagram
      outputs.push({ kind: 'send', from, to, toPort, bytes })
      outputs.push(
        referralEvent('map-referral-sent', datagram, {
          reason: signed.action,
          eidPrefix: formatEidPrefix(signed.eidPrefix),
          asked: formatEidPrefix(asked),
          referrals: signed.locators.length,
        }),
      )
      if (signed.action !== 'ms-ack') return true
      // RFC 8111 §7.2: it goes on to the ETR, or is answered on its behalf.
      return mapServer!.handleRequest(request, ecm, datagram, now, outputs, false, security)
    },
  }
}

/** RFC 8111 §10.1: the node with its public keys, and once more with those that are revoked. */
function keyedLocators(rloc: Rloc, { keys = [], revokedKeys = [] }: DdtDelegation): Locator[] {
  const address = { kind: 'ip', address: rloc } as const
  const entry = (revoked: boolean, material: readonly Uint8Array[]): Locator[] => {
    if (material.length === 0) return []
    const kind = 'security-key' as const
    const key = { kind, keyAlgorithm: KEY_ALGORITHM, revoked, keys: material, address }
    return [structuredLocator(key) ?? locator(rloc)]
  }
  const plain = keys.length === 0 ? [locator(rloc)] : entry(false, keys)
  return [...plain, ...entry(true, revokedKeys)]
}

/** Our choice: the number of RSA/SHA-256 among DNSSEC algorithms; the key itself is DER (SPKI). */
const KEY_ALGORITHM = 8

/**
 * The Map-Servers that hold the same registrations, ourselves among them; undefined when that is not
 * configured and referrals are therefore incomplete (RFC 8111 §6.3).
 */
function mapServerPeers(config: NodeConfig): readonly Locator[] | undefined {
  const { peers } = config.ddt
  if (peers.length === 0) return undefined
  const isListed = (rloc: Rloc): boolean => peers.some((peer) => equalIpAddresses(peer, rloc))
  const self = config.rlocs.map(({ address }) => address).filter((rloc) => !isListed(rloc))
  const missing = peers.some((peer) =>
    config.rlocs.some((one) => equalIpAddresses(peer, one.address)),
  )
    ? []
    : self
  return sortLocators([...peers, ...missing].map((rloc) => locator(rloc)))
}

function record(
  action: ReferralRecord['action'],
  prefix: EidPrefix,
  locators: readonly Locator[],
): ReferralRecord {
  return {
    eidPrefix: prefix,
    ttlMinutes: REFERRAL_TTL_MINUTES[action],
    action,
    authoritative: true,
    incomplete: false,
    mapVersion: 0,
    locators: sortLocators(locators),
    signatures: [],
  }
}

function referralEvent(
  name: 'map-referral-sent' | 'map-referral-suppressed',
  datagram: Datagram,
  fields: { readonly [field: string]: string | number },
): Output {
  const from = formatIpAddress(datagram.from)
  return { kind: 'event', event: { name, severity: 'debug', from, ...fields } }
}
