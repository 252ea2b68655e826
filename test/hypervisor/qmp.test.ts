/** One QEMU without libvirt: what it says by QMP, and what the node hears of it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { connectQmp } from '../../src/hypervisor/qmp.js'
import { startQmpAgent } from '../../src/hypervisor/qmp-agent.js'

const home = mkdtempSync(join(tmpdir(), 'godwit-qmp-'))
t.teardown(() => rmSync(home, { recursive: true, force: true }))

interface FakeQemu {
  status: string
  /** Called when it is asked for its status. */
  asked: () => void
  say(event: string): void
  /** Ends as QEMU does when it exits. */
  exit(): Promise<void>
}

function startQemu(path: string, status: string): Promise<FakeQemu> {
  const sockets = new Set<Socket>()
  const qemu: FakeQemu = {
    status,
    asked() {},
    say(event) {
      const nowMs = performance.timeOrigin + performance.now()
      const seconds = Math.floor(nowMs / 1_000)
      const timestamp = { seconds, microseconds: Math.floor((nowMs - seconds * 1_000) * 1_000) }
      for (const socket of sockets) socket.write(`${JSON.stringify({ event, timestamp })}\r\n`)
    },
    exit() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n')
    socket.on('data', (data) => {
      for (const line of String(data).trim().split('\n')) {
        const { execute, id } = JSON.parse(line) as { execute: string; id: number }
        if (execute === 'query-status') qemu.asked()
        const answer =
          execute === 'query-status'
            ? { status: qemu.status }
            : execute === 'nonsense'
              ? undefined
              : {}
        const error = { class: 'CommandNotFound', desc: 'no such command' }
        socket.write(`${JSON.stringify(answer ? { return: answer, id } : { error, id })}\r\n`)
      }
    })
  })
  return new Promise((resolve) => server.listen(path, () => resolve(qemu)))
}

interface FakeDaemon {
  readonly heard: string[]
  /** Resolves when `count` requests have come. */
  until(count: number): Promise<void>
  close(): void
}

function startDaemon(path: string): Promise<FakeDaemon> {
  const heard: string[] = []
  let wake = (): void => {}
  const server = createHttpServer((request, response) => {
    let body = ''
    request.on('data', (part) => {
      body += part
    })
    request.on('end', () => {
      const { event, gone } = JSON.parse(body || '{}') as { event?: string; gone?: boolean }
      heard.push(
        `${request.method} ${request.url}${event ? ` ${event}${gone ? ' gone' : ''}` : ''}`,
      )
      response.setHeader('content-type', 'application/json')
      response.end('{"moveId": "m7"}')
      wake()
    })
  })
  const daemon: FakeDaemon = {
    heard,
    async until(count) {
      while (heard.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    close: () => server.close(),
  }
  return new Promise((resolve) => server.listen(path, () => resolve(daemon)))
}

t.test('commands are answered or refused, events carry their age', async (t) => {
  const path = join(home, 'plain')
  const qemu = await startQemu(path, 'running')
  const events: string[] = []
  let closed = 0
  let ended = (): void => {}
  const gone = new Promise<void>((resolve) => {
    ended = resolve
  })
  let wake = (): void => {}
  const event = new Promise<void>((resolve) => {
    wake = resolve
  })
  const qmp = await connectQmp(
    path,
    (one) => {
      t.ok(one.agoMs >= 0 && one.agoMs < 2_000)
      events.push(one.event)
      wake()
    },
    () => {
      closed++
      ended()
    },
  )
  t.same(await qmp.execute('query-status'), { status: 'running' })
  await t.rejects(qmp.execute('nonsense'), /no such command/)
  qemu.say('STOP')
  await event
  t.same(events, ['STOP'])
  await qemu.exit()
  await t.rejects(qmp.execute('query-status'))
  await gone
  t.equal(closed, 1)
  await t.rejects(connectQmp(path, () => {}, () => {}), /ENOENT|ECONNREFUSED/) // biome-ignore format: one line
})

t.test('what does not speak QMP is left', async (t) => {
  const path = join(home, 'other')
  const server = createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-x\r\n'))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  await t.rejects(connectQmp(path, () => {}, () => {}), /does not speak QMP/) // biome-ignore format: one line
  server.close()
})

t.test('the destination prepares, confirms and rolls back; the source stops', async (t) => {
  const [path, socket] = [join(home, 'vm'), join(home, 'api')]
  const daemon = await startDaemon(socket)
  const eids = ['[7]10.10.0.5']
  const start = () => startQmpAgent({ qmp: path, socket, eids, mode: 'live', log() {} })

  let qemu = await startQemu(path, 'inmigrate')
  let stop = start()
  await daemon.until(1)
  qemu.status = 'running'
  qemu.say('RESUME')
  await daemon.until(2)
  t.same(daemon.heard, ['POST /v1/moves', 'POST /v1/endpoints/events running'])

  // An operator's pause is nobody's business; the stop of a migration is.
  daemon.heard.length = 0
  qemu.status = 'paused'
  await new Promise<void>((resolve) => {
    // Its answer is on its way before anything that is said later.
    qemu.asked = () => setImmediate(resolve)
    qemu.say('STOP')
  })
  qemu.status = 'running'
  qemu.say('RESUME')
  qemu.status = 'finish-migrate'
  qemu.say('STOP')
  await daemon.until(1)
  t.same(daemon.heard, ['POST /v1/endpoints/events stopped'])
  await qemu.exit()
  await daemon.until(2)
  t.equal(daemon.heard[1], 'POST /v1/endpoints/events stopped gone')
  stop()

  daemon.heard.length = 0
  qemu = await startQemu(path, 'inmigrate')
  stop = start()
  await daemon.until(1)
  await qemu.exit()
  await daemon.until(2)
  t.same(daemon.heard, ['POST /v1/moves', 'DELETE /v1/moves/m7'])
  stop()
  daemon.close()
})
