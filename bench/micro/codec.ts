/**
 * The codec: the messages of a resolution and of a registration, both ways, and their authentication
 * with the addon's HMAC as in the daemon.
 */
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { type IpAddress, parseIpAddress } from '../../src/lisp/address.js'
import { encodeSigned, verifyMessage } from '../../src/lisp/authentication.js'
import { parseEid, parseEidPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import {
  decodeMessage,
  encodeMessage,
  type MapRegister,
  type MapReply,
  type MapRequest,
  type Message,
} from '../../src/lisp/message.js'
import type { Subject } from './main.js'

export function codecSubjects(): Subject[] {
  const { hmac } = loadNativeAddon()
  const key = { keyId: 1, algorithm: 2, secret: new Uint8Array(32).fill(7) } as const
  const signed = encodeSigned(REGISTER, key, hmac)
  return [
    ...bothWays('Map-Request', REQUEST),
    ...bothWays('Map-Reply, 1 record, 2 locators', REPLY),
    ...bothWays('Map-Register, 10 records', REGISTER),
    {
      name: 'codec: sign a Map-Register of 10',
      run: () => encodeSigned(REGISTER, key, hmac).length,
    },
    { name: 'codec: verify a Map-Register of 10', run: () => verifyMessage(signed, key, hmac) },
  ]
}

function bothWays(name: string, message: Message): Subject[] {
  const bytes = encodeMessage(message)
  return [
    { name: `codec: encode ${name}`, run: () => encodeMessage(message).length },
    { name: `codec: decode ${name}`, run: () => decodeMessage(bytes).kind === message.kind },
  ]
}

function address(text: string): IpAddress {
  return parseIpAddress(text)!
}

function mapping(prefix: string): Mapping {
  return {
    eidPrefix: parseEidPrefix(prefix)!,
    ttlMinutes: 15,
    action: 'no-action',
    authoritative: true,
    mapVersion: 3,
    locators: [locator(address('192.0.2.1')), locator(address('2001:db8::1'))],
  }
}

const REQUEST: MapRequest = {
  kind: 'map-request',
  authoritative: false,
  rlocProbe: false,
  solicitMapRequest: false,
  proxyItr: false,
  smrInvoked: false,
  localXtr: false,
  doNotReply: false,
  nonce: 0x0123456789abcdefn,
  sourceEid: parseEid('[7]10.1.0.5')!,
  itrRlocs: [address('192.0.2.1'), address('2001:db8::1')],
  records: [{ subscribe: false, eidPrefix: parseEidPrefix('[7]10.2.0.7/32')! }],
  mapReplyRecord: undefined,
  identity: undefined,
}
const REPLY: MapReply = {
  kind: 'map-reply',
  rlocProbe: false,
  echoNonceCapable: false,
  nonce: 0x0123456789abcdefn,
  records: [mapping('[7]10.2.0.0/24')],
}
const REGISTER: MapRegister = {
  kind: 'map-register',
  proxyReply: true,
  securityCapable: false,
  eidNotify: false,
  useTtlForTimeout: false,
  mergeRequest: false,
  wantMapNotify: true,
  nonce: 17n,
  keyId: 1,
  algorithm: 2,
  authenticationData: new Uint8Array(16),
  records: Array.from({ length: 10 }, (_, index) => mapping(`[7]10.2.${index}.0/24`)),
  identity: { xtrId: new Uint8Array(16).fill(0xaa), siteId: 1n },
}
