/**
 * QEMU's machine protocol: greeting, capabilities, commands with answers, events with QEMU's own
 * times. One client per socket is QEMU's rule; whoever else holds it keeps us waiting.
 */
import { createConnection, type Socket } from 'node:net'

export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
  /** Milliseconds since QEMU saw it, by this host's clock. */
  readonly agoMs: number
}

export interface Qmp {
  /** Rejects when QEMU refuses, is gone, or does not answer in time. */
  execute(command: string): Promise<unknown>
  close(): void
}

/**
 * Connects and negotiates; rejects when nobody listens or what listens is no QEMU. `onClose` is
 * called once, after the connection has ended for whatever reason.
 */
export function connectQmp(
  path: string,
  onEvent: (event: QmpEvent) => void,
  onClose: () => void,
): Promise<Qmp> {
  return new Promise((resolve, reject) => {
    const socket: Socket = createConnection(path)
    const waiting = new Map<
      number,
      { resolve: (value: unknown) => void; reject: (e: Error) => void }
    >()
    let [rest, nextId, greeted] = ['', 1, false]
    const fail = (reason: string): void => {
      for (const one of waiting.values()) one.reject(new Error(reason))
      waiting.clear()
      socket.destroy()
      reject(new Error(reason))
    }
    const execute = (command: string): Promise<unknown> =>
      new Promise((done, refused) => {
        if (waiting.size >= MAXIMUM_WAITING || socket.destroyed) {
          refused(new Error('QEMU does not answer'))
          return
        }
        const id = nextId++
        const timer = setTimeout(() => {
          waiting.delete(id)
          refused(new Error(`QEMU does not answer ${command}`))
        }, ANSWER_LIMIT_MS)
        const settle =
          <T>(act: (value: T) => void) =>
          (value: T): void => {
            clearTimeout(timer)
            act(value)
          }
        waiting.set(id, { resolve: settle(done), reject: settle(refused) })
        socket.write(`${JSON.stringify({ execute: command, id })}\n`)
      })
    const greet = async (): Promise<void> => {
      greeted = true
      await execute('qmp_capabilities')
      clearTimeout(patience)
      resolve({ execute, close: () => socket.destroy() })
    }
    const take = (line: string): void => {
      const message = parse(line)
      if (message === undefined) fail('what listens there does not speak QMP')
      else if ('QMP' in message && !greeted)
        void greet().catch((cause: Error) => fail(cause.message))
      else if ('event' in message) onEvent(eventOf(message))
      else if (typeof message['id'] === 'number') {
        const one = waiting.get(message['id'])
        waiting.delete(message['id'])
        const error = message['error'] as { desc?: string } | undefined
        if (error !== undefined) one?.reject(new Error(error.desc ?? 'QEMU refuses'))
        else one?.resolve(message['return'])
      }
    }
    const patience = setTimeout(
      () => fail('QEMU has another client, or none listens'),
      GREETING_LIMIT_MS,
    )
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => {
      const lines = (rest + part).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > MAXIMUM_LINE) fail('QEMU says a line without an end')
      for (const line of lines) if (line.trim() !== '') take(line)
    })
    socket.on('error', (cause) => fail(cause.message))
    socket.on('close', () => {
      clearTimeout(patience)
      fail('QEMU is gone')
      onClose()
    })
  })
}

function eventOf(message: Readonly<Record<string, unknown>>): QmpEvent {
  const { seconds, microseconds } = (message['timestamp'] ?? {}) as Record<string, unknown>
  const atMs =
    typeof seconds === 'number' && typeof microseconds === 'number'
      ? seconds * 1_000 + microseconds / 1_000
      : Number.NaN
  const passed = performance.timeOrigin + performance.now() - atMs
  return {
    event: String(message['event']),
    data: (message['data'] ?? {}) as Record<string, unknown>,
    agoMs: Number.isFinite(passed) ? Math.min(Math.max(0, passed), 60_000) : 0,
  }
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

const MAXIMUM_WAITING = 16
const MAXIMUM_LINE = 1 << 20
const ANSWER_LIMIT_MS = 3_000
const GREETING_LIMIT_MS = 3_000
