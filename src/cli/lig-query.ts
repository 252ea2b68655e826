/**
 * One question to a Map-Resolver without any daemon (RFC 6835): an encapsulated Map-Request, and
 * the Map-Reply that carries its nonce. Answers may come from anyone the mapping system chooses, so
 * the socket is not connected; the 64-bit nonce is what tells an answer from noise.
 */
import { randomBytes } from 'node:crypto'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { formatAddressText, parseAddressText } from '../config/address-text.js'
import type { IpAddress } from '../lisp/address.js'
import { type Eid, hostPrefix } from '../lisp/eid.js'
import { LISP_CONTROL_PORT } from '../lisp/iana.js'
import type { Mapping } from '../lisp/mapping.js'
import { decodeMessage, encodeMessage } from '../lisp/message.js'

export interface LigAnswer {
  readonly mappings: readonly Mapping[]
  /** Who answered: an ETR, or a Map-Server on its behalf. */
  readonly from: string
  readonly tookMs: number
}

export interface LigOptions {
  readonly eid: Eid
  readonly mapResolver: IpAddress
  /** Our address, to which answers are sent; default: the one that routing chooses. */
  readonly from?: IpAddress
  readonly port?: number
  readonly tries?: number
  readonly waitMs?: number
}

/** The answer, or undefined when none came in `tries` × `waitMs`. Rejects on socket errors. */
export async function queryMapping(options: LigOptions): Promise<LigAnswer | undefined> {
  const { mapResolver, tries = 3, waitMs = 1000 } = options
  const from = options.from ?? (await localAddressTowards(mapResolver))
  const socket = createSocket({ type: mapResolver.family === 4 ? 'udp4' : 'udp6' })
  const nonce = randomBytes(8).readBigUInt64BE()
  const start = performance.now()
  try {
    await bind(socket, from)
    const bytes = mapRequest(options.eid, from, socket.address().port, nonce)
    const port = options.port ?? LISP_CONTROL_PORT
    for (let attempt = 0; attempt < tries; attempt++) {
      const answer = nextAnswer(socket, nonce, waitMs)
      socket.send(bytes, port, formatAddressText(mapResolver))
      const found = await answer
      if (found !== undefined) return { ...found, tookMs: performance.now() - start }
    }
    return undefined
  } finally {
    socket.close()
  }
}

function mapRequest(eid: Eid, from: IpAddress, port: number, nonce: bigint): Uint8Array {
  const message = encodeMessage({
    kind: 'map-request',
    authoritative: false,
    rlocProbe: false,
    solicitMapRequest: false,
    proxyItr: false,
    smrInvoked: false,
    localXtr: false,
    doNotReply: false,
    nonce,
    sourceEid: undefined,
    itrRlocs: [from],
    records: [{ subscribe: false, eidPrefix: hostPrefix(eid) }],
    mapReplyRecord: undefined,
    identity: undefined,
  })
  return encodeMessage({
    kind: 'encapsulated-control',
    security: false,
    ddtOriginated: false,
    innerSource: from,
    innerDestination: eid.address,
    // The Map-Reply is sent to this port (RFC 9301 §5.4).
    innerSourcePort: port,
    innerDestinationPort: LISP_CONTROL_PORT,
    message,
  })
}

function nextAnswer(
  socket: Socket,
  nonce: bigint,
  waitMs: number,
): Promise<{ mappings: readonly Mapping[]; from: string } | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (found?: { mappings: readonly Mapping[]; from: string }): void => {
      clearTimeout(timer)
      socket.off('message', onMessage)
      socket.off('error', reject)
      resolve(found)
    }
    const onMessage = (bytes: Uint8Array, sender: RemoteInfo): void => {
      const message = decodeMessage(new Uint8Array(bytes))
      if (message.kind !== 'map-reply' || message.nonce !== nonce) return
      settle({ mappings: message.records, from: sender.address })
    }
    const timer = setTimeout(() => settle(), waitMs)
    socket.on('message', onMessage)
    socket.on('error', reject)
  })
}

function bind(socket: Socket, address: IpAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ address: formatAddressText(address), port: 0 }, () => {
      socket.off('error', reject)
      resolve()
    })
  })
}

/** Connecting a datagram socket sends nothing; it only makes the kernel choose a source. */
function localAddressTowards(remote: IpAddress): Promise<IpAddress> {
  const socket = createSocket(remote.family === 4 ? 'udp4' : 'udp6')
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.connect(LISP_CONTROL_PORT, formatAddressText(remote), () => {
      const address = parseAddressText(socket.address().address)
      socket.close()
      if (address === undefined) reject(new Error('no usable source address; use --from'))
      else resolve(address)
    })
  })
}
