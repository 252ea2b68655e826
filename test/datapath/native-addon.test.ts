/**
 * The native addon against this kernel: hashes and UDP without privileges; objects, maps, pins, links
 * and events in a namespace that vanishes with the process. The hold: native-hold.test.ts.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { createUdpWire, type WireDatagram } from '../../src/daemon/udp-wire.js'
import type { NativeHandle } from '../../src/datapath/native-addon.js'
import {
  addon,
  ADDON_BUILD as BUILD,
  FIXTURE,
  interfaceIndex,
  ip,
  isInsideNamespace,
  openFixture,
  prepareNamespace,
  range,
  runInsideNamespace,
  u32,
} from './addon-fixture.js'

const LOOPBACK_4 = { family: 4, bytes: Uint8Array.of(127, 0, 0, 1) } as const
const LOOPBACK_6 = {
  family: 6,
  bytes: Uint8Array.from({ length: 16 }, (_, i) => Number(i === 15)),
} as const
const PORT = 24_342

if (isInsideNamespace) {
  testInsideNamespace()
} else {
  testWithoutPrivileges()
  runInsideNamespace(fileURLToPath(import.meta.url))
}

// ------------------------------------------------------------------------------ no privileges

function testWithoutPrivileges(): void {
  t.test('the addon and its interface agree on the ABI version', (t) => {
    const header = readFileSync(join(BUILD, '../../../native/bpf/lisp_abi.h'), 'utf8')
    t.equal(addon.abiVersion(), Number(/LISP_ABI_VERSION (\d+)/.exec(header)?.[1]))
    t.end()
  })

  t.test('HMACs are those of node:crypto for every length around the block size', (t) => {
    const data = Uint8Array.from({ length: 300 }, (_, i) => i * 7)
    for (const hash of ['sha1', 'sha256'] as const) {
      for (const keyLength of [0, 1, 20, 32, 63, 64, 65, 128, 200]) {
        const key = data.subarray(3, 3 + keyLength)
        for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 300]) {
          const expected = createHmac(hash, key).update(data.subarray(0, length)).digest('hex')
          const actual = hex(addon.hmac(hash, key, data.subarray(0, length)))
          if (actual !== expected) t.equal(actual, expected, `${hash} ${keyLength} ${length}`)
        }
      }
    }
    // RFC 4231 §4.3
    const key = new TextEncoder().encode('Jefe')
    const text = new TextEncoder().encode('what do ya want for nothing?')
    t.equal(
      hex(addon.hmac('sha256', key, text)),
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    )
    t.comment(`HMAC-SHA256 of 100 bytes: ${microseconds(200_000, hmacOnce(data))} µs`)
    t.end()
  })

  t.test('wrong arguments throw and never crash', (t) => {
    const any = addon as unknown as Record<string, (...values: unknown[]) => unknown>
    const values = [undefined, null, 1, -1, Number.NaN, 'x', {}, [], new Uint8Array(3), () => {}]
    for (const [name, call] of Object.entries(any)) {
      if (name === 'abiVersion') continue
      const survived = values.filter((value) => {
        try {
          call(value, value, value, value, value)
          return true
        } catch {
          return false
        }
      })
      t.same(survived, [], name)
    }
    t.throws(() => any['hmac']?.('md5', new Uint8Array(1), new Uint8Array(1)), TypeError)
    t.throws(() => addon.openObject('nothing', { pinDirectory: '/sys/fs/bpf/x' }), {
      code: 'ENOENT',
      operation: 'openObject',
    })
    t.end()
  })

  t.test(
    'a batch of datagrams comes back over both families, bytes and ports intact',
    async (t) => {
      for (const address of [LOOPBACK_4, LOOPBACK_6]) {
        const got: WireDatagram[] = []
        const server = createUdpWire(addon, {
          addresses: [address],
          port: PORT,
          onDatagrams(batch) {
            for (const each of batch) server.send(each.to, each.from, each.fromPort, each.bytes)
            server.flush()
          },
        })
        const done = deferred()
        const client = createUdpWire(addon, {
          addresses: [address],
          port: PORT + 1,
          onDatagrams(batch) {
            got.push(...batch)
            if (got.length === 300) done.resolve()
          },
        })
        for (let i = 0; i < 300; i++) client.send(address, address, PORT, numbered(i, 4 + i * 5))
        client.flush()
        await done.promise
        t.same(
          got.map((each) => hex(each.bytes)),
          Array.from({ length: 300 }, (_, i) => hex(numbered(i, 4 + i * 5))),
        )
        t.ok(got.every((each) => each.fromPort === PORT))
        t.match(client.counters(), { sent: 300, received: 300, unsent: {}, droppedByKernel: 0 })
        server.close()
        client.close()
      }
    },
  )

  t.test('a datagram without UDP checksum is refused, one with is taken', async (t) => {
    const got: WireDatagram[] = []
    const arrived = deferred()
    const wire = createUdpWire(addon, {
      addresses: [LOOPBACK_4],
      port: PORT + 2,
      onDatagrams(batch) {
        got.push(...batch)
        arrived.resolve()
      },
    })
    // dgram cannot send without checksum: the fixture does, for a negative size.
    execFileSync(join(BUILD, 'udp_source'), ['127.0.0.1', `${PORT + 2}`, '7', '1', '1000', '-64'])
    execFileSync(join(BUILD, 'udp_source'), ['127.0.0.1', `${PORT + 2}`, '8', '1', '1000', '64'])
    await arrived.promise
    t.same(
      got.map((each) => each.bytes[0]),
      [8],
    )
    t.equal(wire.counters().droppedByKernel, 1)
    wire.close()
  })

  t.test(
    'one refused destination does not stop the others; every refusal is counted',
    async (t) => {
      const got = deferred()
      const receiver = createSocket('udp4', () => got.resolve()).bind(PORT + 3, '127.0.0.1')
      await once(receiver, 'listening')
      const wire = createUdpWire(addon, {
        addresses: [LOOPBACK_4],
        port: PORT + 4,
        onDatagrams: () => {},
      })
      const broadcast = { family: 4, bytes: Uint8Array.of(255, 255, 255, 255) } as const
      wire.send(LOOPBACK_4, broadcast, PORT + 3, new Uint8Array(8))
      wire.send(LOOPBACK_4, LOOPBACK_4, PORT + 3, new Uint8Array(8))
      wire.send(broadcast, LOOPBACK_4, PORT + 3, new Uint8Array(8))
      wire.flush()
      await got.promise
      t.match(wire.counters(), { sent: 1, unsent: { EACCES: 1, 'no-socket': 1 } })
      wire.close()
      receiver.close()
    },
  )

  t.test('an address of nobody and a port in use are refused with their errno', (t) => {
    const options = { port: PORT + 5, onDatagrams: () => {} }
    const nobody = { family: 4, bytes: Uint8Array.of(192, 0, 2, 1) } as const
    t.throws(() => createUdpWire(addon, { ...options, addresses: [LOOPBACK_4, nobody] }), {
      code: 'EADDRNOTAVAIL',
    })
    const first = createUdpWire(addon, { ...options, addresses: [LOOPBACK_4] })
    t.throws(() => createUdpWire(addon, { ...options, addresses: [LOOPBACK_4] }), {
      code: 'EADDRINUSE',
    })
    first.close()
    t.end()
  })

  t.test(
    'what the callback throws is an uncaught exception; closing inside it is safe',
    async (t) => {
      const thrown = deferred<unknown>()
      process.once('uncaughtException', (error) => thrown.resolve(error))
      const wire = createUdpWire(addon, {
        addresses: [LOOPBACK_4],
        port: PORT + 6,
        onDatagrams() {
          wire.close()
          throw new Error('from the callback')
        },
      })
      wire.send(LOOPBACK_4, LOOPBACK_4, PORT + 6, new Uint8Array(4))
      wire.flush()
      t.match(await thrown.promise, { message: 'from the callback' })
    },
  )

  t.test('a worker that ends with open sockets ends cleanly', async (t) => {
    const source = `
      const { createRequire } = require('node:module')
      const addon = require(${JSON.stringify(join(BUILD, '../../Release/godwit.node'))})
      addon.openUdp({ address: Uint8Array.of(127, 0, 0, 1), port: ${PORT + 7},
        receiveBufferBytes: 65536, reusePort: false }, () => {})
      process.exit(3)`
    const [code] = await once(new Worker(source, { eval: true }), 'exit')
    t.equal(code, 3)
    const again = createUdpWire(addon, {
      addresses: [LOOPBACK_4],
      port: PORT + 7,
      onDatagrams: () => {},
    })
    again.close()
  })
}

// ---------------------------------------------------------------------------- inside a namespace

function testInsideNamespace(): void {
  const pins = prepareNamespace()
  testMaps(join(pins, 'maps/deep'))
  testLinksAndEvents(join(pins, 'links'))
  testEmbeddedObjects(join(pins, 'embedded'))
}

function testMaps(pinDirectory: string): void {
  t.test('entries are put, found, listed and deleted, one by one and in batches', (t) => {
    const object = openFixture(pinDirectory, { maximumEntries: { numbers: 5000 } })
    addon.updateMap(object, 'numbers', u32(1), u64(10n))
    t.same(addon.lookupMap(object, 'numbers', u32(1)), u64(10n))
    t.equal(addon.lookupMap(object, 'numbers', u32(2)), undefined)
    t.equal(addon.deleteMap(object, 'numbers', u32(1)), true)
    t.equal(addon.deleteMap(object, 'numbers', u32(1)), false)

    for (const map of ['numbers', 'prefixes']) {
      const count = 4500
      const keys = concat(range(count).map((i) => (map === 'numbers' ? u32(i) : prefix(i))))
      addon.updateMapBatch(
        object,
        map,
        keys,
        concat(range(count).map((i) => u64(BigInt(i)))),
        count,
      )
      const read = addon.readMap(object, map)
      t.equal(read.count, count, map)
      const keyBytes = keys.length / count
      t.same(
        new Set(range(count).map((i) => pair(read, keyBytes, i))),
        new Set(range(count).map((i) => pair({ keys, values: read.values }, keyBytes, i, i))),
      )
    }
    t.throws(() => addon.updateMap(object, 'numbers', u64(1n), u64(1n)), RangeError)
    t.throws(() => addon.updateMap(object, 'none', u32(1), u64(1n)), { code: 'ENOENT' })
    const full = concat(range(6000).map((i) => u32(i + 10_000)))
    t.throws(() => addon.updateMapBatch(object, 'numbers', full, new Uint8Array(48_000), 6000), {
      code: 'E2BIG',
    })
    addon.closeObject(object)
    t.throws(() => addon.readMap(object, 'numbers'), TypeError)
    t.end()
  })

  t.test('pinned maps keep their entries over a reopening, unless their shape has changed', (t) => {
    const numbers = { maximumEntries: { numbers: 5000 } }
    const first = openFixture(pinDirectory, numbers)
    t.same(addon.lookupMap(first, 'numbers', u32(4)), u64(4n), 'left by the former test')
    t.equal(addon.readMap(first, 'prefixes').count, 4500)
    addon.closeObject(first)
    const resized = openFixture(pinDirectory, { maximumEntries: { numbers: 6000 } })
    t.equal(addon.readMap(resized, 'numbers').count, 0, 'another size: made anew')
    t.equal(addon.readMap(resized, 'prefixes').count, 4500, 'the same shape: kept')
    addon.closeObject(resized)
    t.throws(() => openFixture('/tmp/godwit-no-bpffs'), { code: 'EINVAL', message: /bpffs/ })
    t.throws(() => openFixture(pinDirectory, { rodata: { nothing: 1 } }), { code: 'ENOENT' })
    t.throws(() => openFixture(pinDirectory, { bytes: new Uint8Array(99) }), /no BPF object/)
    t.end()
  })
}

function testLinksAndEvents(pinDirectory: string): void {
  t.test('a program runs on a packet; constants, per-CPU values and events arrive', async (t) => {
    const object = openFixture(pinDirectory, { rodata: { verdict: 42 } })
    const batches: number[][] = []
    const all = deferred()
    const events = addon.startEvents(object, 'records', 8, (records, count) => {
      const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
      batches.push(range(count).map((i) => view.getUint32(i * 8, true)))
      if (batches.flat().length >= 1000) all.resolve()
    })
    const index = interfaceIndex('in')
    for (let i = 0; i < 1000; i++) {
      const frame = new Uint8Array(60 + (i % 100))
      const run = addon.testRun(object, 'count_packets', frame, index)
      if (i === 0) t.match(run, { verdict: 42, packet: frame })
    }
    await all.promise
    t.same(
      batches.flat(),
      range(1000).map((i) => 60 + (i % 100)),
      'every record once, in order',
    )
    t.ok(batches.every((batch) => batch.length <= 256))
    const counters = addon.lookupMap(object, 'counters', u32(0)) ?? new Uint8Array()
    const view = new DataView(counters.buffer)
    const cpus = range(counters.length / 16)
    t.equal(sum(cpus.map((cpu) => Number(view.getBigUint64(cpu * 16, true)))), 1000)
    t.equal(addon.readMap(object, 'counters').count, 2)
    addon.closeEvents(events)
    addon.closeObject(object)
  })

  t.test('a link outlives the object, is replaced in one step, and is made anew when dead', (t) => {
    const attach = (object: NativeHandle, index: number) =>
      addon.attach(object, 'count_packets', index, 'ingress')
    const first = openFixture(pinDirectory)
    const index = interfaceIndex('in')
    t.equal(attach(first, index), 'created')
    addon.closeObject(first)
    const second = openFixture(pinDirectory)
    t.equal(attach(second, index), 'replaced')
    addon.detach(second, 'count_packets', index)
    addon.detach(second, 'count_packets', index)
    t.equal(attach(second, index), 'created')
    addon.detach(second, 'count_packets', index)
    // The device vanishes, its pin stays; another device gets the same index.
    ip('link add gone index 77 type veth peer name gone-peer')
    t.equal(attach(second, 77), 'created')
    ip('link del dev gone')
    t.throws(() => attach(second, 77), { code: /ENODEV|EINVAL/ })
    ip('link add gone index 77 type veth peer name gone-peer')
    t.equal(attach(second, 77), 'created')
    ip('link del dev gone')
    addon.closeObject(second)
    t.end()
  })

  t.test('a refused program gives the verifier’s words', (t) => {
    const image = readFileSync(join(BUILD, 'refused.bpf.o'))
    try {
      addon.openObject('refused', { pinDirectory, bytes: image })
      t.fail('the verifier accepted a read through a null pointer')
    } catch (error) {
      t.match(error, { code: 'EACCES', operation: 'openObject', verifierLog: /invalid mem access/ })
    }
    t.end()
  })
}

function testEmbeddedObjects(pinDirectory: string): void {
  t.test('every embedded object passes the verifier', (t) => {
    for (const name of ['datapath', 'panel']) {
      mkdirSync(join(pinDirectory, name), { recursive: true })
      addon.closeObject(addon.openObject(name, { pinDirectory: join(pinDirectory, name) }))
    }
    t.end()
  })

  t.test('an upgrade keeps the tables, unless they mean something else now', (t) => {
    const directory = join(pinDirectory, 'datapath')
    const open = (options: { drops?: number; version?: number } = {}): NativeHandle => {
      const { drops, version } = options
      return addon.openObject('datapath', {
        pinDirectory: directory,
        ...(drops === undefined ? {} : { maximumEntries: { drops } }),
        ...(version === undefined ? {} : { rodata: { lisp_abi_version: version } }),
      })
    }
    const counts = (object: NativeHandle) =>
      ['relay_rlocs', 'drops'].map((map) => addon.readMap(object, map).count)
    const first = open()
    const [, reasons = 0] = counts(first)
    addon.updateMap(first, 'relay_rlocs', new Uint8Array(20), u32(1))
    addon.closeObject(first)
    const appended = open({ drops: reasons + 3 })
    t.same(counts(appended), [1, reasons + 3], 'more reasons to drop: only their counts begin anew')
    t.same(addon.lookupMap(appended, 'abi_version', u32(0)), u32(addon.abiVersion()))
    addon.closeObject(appended)
    const other = open({ version: addon.abiVersion() + 1 })
    t.same(counts(other), [0, reasons], 'another version: nothing is misread')
    addon.updateMap(other, 'relay_rlocs', new Uint8Array(20), u32(1))
    addon.closeObject(other)
    unlinkSync(join(directory, 'abi_version'))
    const unmarked = open()
    t.same(counts(unmarked), [0, reasons], 'maps of a build that did not say its version')
    addon.closeObject(unmarked)
    t.end()
  })

  t.test('process.exit with everything open ends with the given code', (t) => {
    const script = `
      const addon = require(${JSON.stringify(join(BUILD, '../../Release/godwit.node'))})
      const bytes = require('node:fs').readFileSync(${JSON.stringify(FIXTURE)})
      const object = addon.openObject('fixture', { pinDirectory: ${JSON.stringify(pinDirectory)}, bytes })
      addon.startEvents(object, 'records', 8, () => {})
      addon.openHold({ object, interfaceName: 'gwadd-exit', packetsPerEid: 1, bytesPerEid: 1,
        bytesTotal: 1, longestMs: [0, 1], windowMs: 1,
        provisionalGuardMs: 0, maximumEids: 1 }, () => {})
      addon.openUdp({ address: Uint8Array.of(127, 0, 0, 1), port: ${PORT},
        receiveBufferBytes: 65536, reusePort: false }, () => {})
      setImmediate(() => process.exit(5))`
    const child = spawn(process.execPath, ['-e', script], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    child.on('exit', (code, signal) => {
      t.same([code, signal], [5, null])
      t.end()
    })
  })
}

// -------------------------------------------------------------------------------------- support

function prefix(i: number): Uint8Array {
  return concat([u32(64), Uint8Array.of(0, 0, 0, 4, 10, 1, i >> 8, i), new Uint8Array(12)])
}

function pair(
  all: { keys: Uint8Array; values: Uint8Array },
  keyBytes: number,
  i: number,
  value = Number(new DataView(all.values.buffer).getBigUint64(i * 8, true)),
): string {
  return `${hex(all.keys.subarray(i * keyBytes, (i + 1) * keyBytes))} ${value}`
}

function u64(value: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([value]).buffer)
}

function numbered(value: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(value)
  bytes.set(u32(value))
  return bytes
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function microseconds(times: number, call: () => void): string {
  const start = process.hrtime.bigint()
  for (let i = 0; i < times; i++) call()
  return (Number(process.hrtime.bigint() - start) / times / 1000).toFixed(2)
}

function hmacOnce(data: Uint8Array): () => void {
  const [key, text] = [data.subarray(0, 20), data.subarray(0, 100)]
  return () => addon.hmac('sha256', key, text)
}

function deferred<T = void>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
