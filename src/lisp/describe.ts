/**
 * One line of text per message, for logs, traces and the command line. Never throws, never prints
 * authentication data, and is bounded in length whatever a peer sends.
 */
import { formatIpAddress, formatMac } from './address.js'
import { formatEid, formatEidPrefix } from './eid.js'
import { formatLocator, type Rloc } from './locator.js'
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
        listText(message.records, mappingText),
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
        identityText(message.identity),
      ])
    case 'map-notify':
    case 'map-notify-ack':
      return words([
        message.kind,
        authenticatedText(message),
        listText(message.records, mappingText),
        identityText(message.identity),
      ])
    case 'encapsulated-control':
      return words([
        'encapsulated-control',
        `${endpointText(message.innerSource, message.innerSourcePort)} →`,
        endpointText(message.innerDestination, message.innerDestinationPort),
        message.security && 'security',
        message.ddtOriginated && 'ddt-originated',
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
        identityText(message.identity),
      ])
  }
}

/** `10.1.0.0/16 ttl 1440 192.0.2.1 1/100`, or with the action in place of locators. */
export function mappingText(mapping: Mapping): string {
  const { eidPrefix, ttlMinutes, authoritative, mapVersion, locators, action } = mapping
  return words([
    formatEidPrefix(eidPrefix),
    `ttl ${ttlMinutes}`,
    authoritative && 'authoritative',
    mapVersion !== 0 && `version ${mapVersion}`,
    locators.length === 0 ? action : listText(locators, formatLocator),
  ])
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
    message.mapReplyRecord !== undefined && `with ${mappingText(message.mapReplyRecord)}`,
    identityText(message.identity),
  ])
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
