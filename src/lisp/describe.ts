/**
 * One line of text per message, for logs, traces and the command line. Never throws, never prints
 * authentication data, and is bounded in length whatever a peer sends.
 */
import { formatIpAddress, formatMac } from './address.js'
import type { AfiAddress } from './afi-address.js'
import { formatEid, formatEidPrefix } from './eid.js'
import { formatLocator, type Rloc } from './locator.js'
import type { ReferralRecord } from './map-referral.js'
import type { Mapping } from './mapping.js'
import type { Malformed, MapRequest, Message, XtrIdentity } from './message.js'

/** What `decodeMessage` returned, as one line without a newline. */
export function describeMessage(message: Message | Malformed): string {
  switch (message.kind) {
    case 'malformed':
      return `malformed: ${message.code} at byte ${message.offset} (${message.field})`
    case 'map-request':
      return mapRequestText(message)
    case 'map-reply':
      return words([
        'map-reply',
        nonceText(message.nonce),
        message.rlocProbe && 'rloc-probe',
        message.echoNonceCapable && 'echo-nonce',
        message.security !== undefined && 'security',
        listText(message.records, mappingText),
        structuredText(message.structuredRecords),
      ])
    case 'map-register':
      return words([
        'map-register',
        authenticatedText(message),
        message.proxyReply && 'proxy-reply',
        message.wantMapNotify && 'want-map-notify',
        message.mergeRequest && 'merge',
        message.useTtlForTimeout && 'use-ttl',
        message.eidNotify && 'eid-notify',
        message.securityCapable && 'security',
        listText(message.records, mappingText),
        structuredText(message.structuredRecords),
        identityText(message.identity),
      ])
    case 'map-notify':
    case 'map-notify-ack':
      return words([
        message.kind,
        authenticatedText(message),
        listText(message.records, mappingText),
        structuredText(message.structuredRecords),
        identityText(message.identity),
      ])
    case 'map-referral':
      return words([
        'map-referral',
        nonceText(message.nonce),
        listText(message.records, referralText),
        structuredText(message.structuredRecords),
      ])
    case 'info-request':
      return words([
        'info-request',
        authenticatedText(message),
        `for ${addressText(message.eid)}/${message.maskLength}`,
      ])
    case 'info-reply':
      return words([
        'info-reply',
        authenticatedText(message),
        `for ${addressText(message.eid)}/${message.maskLength}`,
        `ttl ${message.ttlMinutes}`,
        `seen as ${addressText(message.nat.globalEtrRloc)} port ${message.nat.etrPort}`,
        `rtr ${listText(message.nat.rtrRlocs, addressText)}`,
      ])
    case 'encapsulated-control':
      return words([
        'encapsulated-control',
        `${endpointText(message.innerSource, message.innerSourcePort)} →`,
        endpointText(message.innerDestination, message.innerDestinationPort),
        message.security && 'security',
        message.ddtOriginated && 'ddt-originated',
        message.toEtr === true && 'to-etr',
        message.toMapServer === true && 'to-map-server',
        `${message.message.length} bytes`,
      ])
    case 'move':
      return words([
        `move ${message.phase}`,
        message.reason !== 'none' && `reason ${message.reason}`,
        `id ${hexText(message.moveId)}`,
        authenticatedText(message),
        message.endpointMac.some((byte) => byte !== 0) && `mac ${formatMac(message.endpointMac)}`,
        message.senders.length > 0 && `senders ${rlocsText(message.senders)}`,
        listText(message.records, mappingText),
        structuredText(message.structuredRecords),
        identityText(message.identity),
      ])
  }
}

/** `10.1.0.0/16 ttl 1440 192.0.2.1 1/100`, or with the action in place of locators. */
function mappingText(mapping: Mapping): string {
  const { eidPrefix, ttlMinutes, authoritative, mapVersion, locators, action } = mapping
  return words([
    formatEidPrefix(eidPrefix),
    `ttl ${ttlMinutes}`,
    authoritative && 'authoritative',
    mapVersion !== 0 && `version ${mapVersion}`,
    locators.length === 0 ? action : listText(locators, formatLocator),
  ])
}

/** What is known of an address in one word or a few: text, or the kind of what holds it. */
export function addressText(value: AfiAddress): string {
  switch (value.kind) {
    case 'ip':
      return formatIpAddress(value.address)
    case 'mac':
      return formatMac(value.mac)
    case 'name':
      return JSON.stringify(nameText(value.name))
    case 'instance':
      return `[${value.instanceId}]${addressText(value.address)}`
    case 'multicast-info': {
      const source = `${addressText(value.source)}/${value.sourceMaskLength}`
      const group = `${addressText(value.group)}/${value.groupMaskLength}`
      return `[${value.instanceId}](${source}, ${group})`
    }
    case 'unknown-lcaf':
      return `lcaf-${value.type}`
    default:
      return value.kind
  }
}

/** The printable ASCII of a name, everything else as a dot. */
export function nameText(name: Uint8Array): string {
  return Array.from(name, (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.',
  ).join('')
}

// Choice: a line stays readable and a flood of large messages does not fill the log.
const SHOWN = 4

function mapRequestText(message: MapRequest): string {
  return words([
    'map-request',
    nonceText(message.nonce),
    message.rlocProbe && 'rloc-probe',
    message.solicitMapRequest && 'smr',
    message.smrInvoked && 'smr-invoked',
    message.authoritative && 'authoritative',
    message.proxyItr && 'proxy-itr',
    message.localXtr && 'local-xtr',
    message.doNotReply && 'do-not-reply',
    message.sourceEid !== undefined && `source ${formatEid(message.sourceEid)}`,
    `itr ${rlocsText(message.itrRlocs)}`,
    listText(message.records, ({ subscribe, eidPrefix }) =>
      subscribe ? `${formatEidPrefix(eidPrefix)} subscribe` : formatEidPrefix(eidPrefix),
    ),
    structuredText(message.structuredRecords),
    message.mapReplyRecord !== undefined && `with ${mappingText(message.mapReplyRecord)}`,
    identityText(message.identity),
  ])
}

function referralText(record: ReferralRecord): string {
  return words([
    formatEidPrefix(record.eidPrefix),
    record.action,
    `ttl ${record.ttlMinutes}`,
    record.authoritative && 'authoritative',
    record.incomplete && 'incomplete',
    record.signatures.length > 0 && `${record.signatures.length} signatures`,
    listText(record.locators, formatLocator),
  ])
}

function structuredText(
  records: readonly { readonly eid: AfiAddress; readonly maskLength: number }[] | undefined,
): string | false {
  if (records === undefined) return false
  return listText(records, ({ eid }) => addressText(eid))
}

function words(parts: readonly (string | false)[]): string {
  return parts.filter((part) => part !== false && part !== '').join(' ')
}

function listText<T>(values: readonly T[], text: (value: T) => string): string {
  const shown = values.slice(0, SHOWN).map(text)
  if (values.length > SHOWN) shown.push(`and ${values.length - SHOWN} more`)
  return `[${shown.join(', ')}]`
}

function rlocsText(rlocs: readonly Rloc[]): string {
  return listText(rlocs, formatIpAddress)
}

function endpointText(rloc: Rloc, port: number): string {
  const address = formatIpAddress(rloc)
  return rloc.family === 4 ? `${address}:${port}` : `[${address}]:${port}`
}

function hexText(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`
}

function nonceText(nonce: bigint): string {
  return `nonce ${hexText(nonce)}`
}

function authenticatedText(message: {
  readonly nonce: bigint
  readonly keyId: number
  readonly algorithm: number
}): string {
  return `${nonceText(message.nonce)} key ${message.keyId} algorithm ${message.algorithm}`
}

function identityText(identity: XtrIdentity | undefined): string | false {
  if (identity === undefined) return false
  const xtrId = Array.from(identity.xtrId, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `xtr ${xtrId} site ${identity.siteId}`
}
