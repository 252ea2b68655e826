/**
 * A socket for asking the mapping system without a daemon: encapsulated Map-Requests out, whatever the
 * caller takes for an answer in (RFC 6835, RFC 8112). Answers may come from anyone the mapping system
 * chooses, so the socket is not connected; the 64-bit nonce is what tells an answer from noise.
 */
import { randomBytes } from 'node:crypto'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { formatAddressText, parseAddressText } from '../config/address-text.js'
import type { IpAddress } from '../lisp/address.js'
import { type Eid, hostPrefix } from '../lisp/eid.js'
import { LISP_CONTROL_PORT } from '../lisp/iana.js'
import { decodeMessage, encodeMessage, type Message } from '../lisp/message.js'

export interface Question {
  readonly eid: Eid
  readonly to: IpAddress
  /** UDP port of `to`; default 4342. */
  readonly port?: number | undefined
  /** A bit: only an ETR may answer. */
  readonly authoritative?: boolean | undefined
  /** D bit of the ECM: as a Map-Resolver asks a DDT node (RFC 8111 §5). */
  readonly ddt?: boolean | undefined
  /** Times to ask, ≥ 1; the first answer ends it. */
  readonly tries: number
  readonly waitMs: number
}

export interface Answer<Kind extends Message['kind']> {
  readonly message: Extract<Message, { kind: Kind }>
  /** Whose address the answer came from. */
  readonly from: string
  /** From the request that was answered, or from the last of several, to the answer. */
  readonly roundTripMs: number
  /** Requests sent until then. */
  readonly tries: number
}

export interface ControlExchange {
  /** The first answer of this kind with our nonce; undefined when none came. Rejects on socket errors. */
  ask<Kind extends 'map-reply' | 'map-referral'>(
    question: Question,
    kind: Kind,
  ): Promise<Answer<Kind> | undefined>
  close(): void
}

/** A socket at `from`, or at the address that routing chooses towards `remote`. */
export async function openExchange(
  remote: IpAddress,
  from: IpAddress | undefined,
): Promise<ControlExchange> {
  const own = from ?? (await localAddressTowards(remote))
  const socket = createSocket({ type: own.family === 4 ? 'udp4' : 'udp6' })
  try {
    await bind(socket, own)
  } catch (cause) {
    socket.close()
    throw cause
  }
  return {
    async ask(question, kind) {
      const nonce = randomBytes(8).readBigUInt64BE()
      const bytes = mapRequest(question, own, socket.address().port, nonce)
      const { tries, waitMs, to, port = LISP_CONTROL_PORT } = question
      for (let attempt = 1; attempt <= tries; attempt += 1) {
        const start = performance.now()
        const answer = nextAnswer(socket, kind, nonce, waitMs)
        socket.send(bytes, port, formatAddressText(to))
        const found = await answer
        if (found !== undefined) {
          return { ...found, roundTripMs: performance.now() - start, tries: attempt }
        }
      }
      return undefined
    },
    close: () => socket.close(),
  }
}

function mapRequest(question: Question, from: IpAddress, port: number, nonce: bigint): Uint8Array {
  const { eid, authoritative = false, ddt = false } = question
  const message = encodeMessage({
    kind: 'map-request',
    authoritative,
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
    ddtOriginated: ddt,
    innerSource: from,
    innerDestination: eid.address,
    // The Map-Reply is sent to this port (RFC 9301 §5.4).
    innerSourcePort: port,
    innerDestinationPort: LISP_CONTROL_PORT,
    message,
  })
}

function nextAnswer<Kind extends Message['kind']>(
  socket: Socket,
  kind: Kind,
  nonce: bigint,
  waitMs: number,
): Promise<Pick<Answer<Kind>, 'message' | 'from'> | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (found?: Pick<Answer<Kind>, 'message' | 'from'>): void => {
      clearTimeout(timer)
      socket.off('message', onMessage)
      socket.off('error', reject)
      resolve(found)
    }
    const onMessage = (bytes: Uint8Array, sender: RemoteInfo): void => {
      const message = decodeMessage(new Uint8Array(bytes))
      if (message.kind !== kind || !('nonce' in message) || message.nonce !== nonce) return
      settle({ message: message as Extract<Message, { kind: Kind }>, from: sender.address })
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
