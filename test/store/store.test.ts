/**
 * The contract of store.ts on both implementations, and what only the embedded one promises: what
 * was saved is there after `kill -9` of the process that saved it.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { parseEidPrefix } from '../../src/lisp/eid.js'
import { locator, structuredLocator } from '../../src/lisp/locator.js'
import { openEmbeddedStore } from '../../src/store/embedded-store.js'
import { createMemoryStore } from '../../src/store/memory-store.js'
import { decodeRecord, encodeRecord } from '../../src/store/record-codec.js'
import { recordKey, type Store } from '../../src/store/store.js'

function aHop(text: string) {
  const flags = { lookup: false, probe: true, strict: true }
  return { ...flags, address: { kind: 'ip' as const, address: parseIpAddress(text)! } }
}

const registration: StoredRecord & { kind: 'registration' } = {
  kind: 'registration',
  site: 'cloud',
  eidPrefix: parseEidPrefix('[7]10.10.0.5/32')!,
  owner: '00112233445566778899aabbccddeeff',
  ownerRlocs: [parseIpAddress('172.16.1.1')!, parseIpAddress('fd00:c:1::1')!],
  mapVersion: 4095,
  locators: [
    locator(parseIpAddress('172.16.1.1')!, { priority: 1, weight: 100, reachable: true }),
    locator(parseIpAddress('fd00:c:1::1')!, { priority: 255, weight: 0, local: true }),
    structuredLocator(
      { kind: 'explicit-locator-path', hops: [aHop('172.16.9.1'), aHop('172.16.1.1')] },
      { priority: 2 },
    )!,
  ],
  action: 'drop',
  ttlMinutes: 0xffffffff,
  proxyReply: true,
  wantMapNotify: false,
  merge: true,
  securityCapable: true,
  expiresAt: 1_800_000_000_123.5,
}
const reservation: StoredRecord = {
  kind: 'reservation',
  scope: 'register',
  ceiling: 2n ** 64n - 1n,
}
const lastNonce: StoredRecord = { kind: 'last-nonce', sender: '172.16.1.1/1', nonce: 1n << 63n }

const subscription: StoredRecord & { kind: 'subscription' } = {
  kind: 'subscription',
  xtrId: '00112233445566778899aabbccddeeff',
  siteId: 2n ** 64n - 1n,
  eidPrefix: parseEidPrefix('[7]fd00:10::/32')!,
  itrRlocs: [parseIpAddress('172.16.1.1')!, parseIpAddress('fd00:c:1::1')!],
  keyOwner: 'site/cloud',
  keyId: 3,
  algorithm: 3,
  secret: undefined,
  authenticationLength: 16,
  askedNonce: 1n << 62n,
  nonceCeiling: (1n << 62n) + 1024n,
  removed: false,
  suppresses: true,
  temporary: true,
  expiresAt: 1_800_000_000_123.5,
}
const ownKey: StoredRecord = {
  ...subscription,
  keyOwner: undefined,
  secret: Uint8Array.of(0, 255, 7),
}
const owed: StoredRecord & { kind: 'pending-notify' } = {
  kind: 'pending-notify',
  eidPrefix: parseEidPrefix('[7]10.10.0.5/32')!,
  owner: '00112233445566778899aabbccddeeff',
  homeRlocs: [parseIpAddress('172.16.1.1')!, parseIpAddress('fd00:c:1::1')!],
  otherRlocs: [parseIpAddress('172.16.9.1')!],
  keyId: 2,
}
const own: StoredRecord & { kind: 'own-locators' } = {
  kind: 'own-locators',
  locators: registration.locators,
  senders: [{ eidPrefix: registration.eidPrefix, rloc: parseIpAddress('fd00:c:2::1')! }],
  expiresAt: 1_800_000_000_123.5,
}

const workload: StoredRecord = {
  kind: 'workload',
  workloadId: '5e1f0a10-0000-4000-8000-000000000005',
  name: 'vm1',
  description: 'ovf',
  eids: [
    { instanceId: 7, address: parseIpAddress('10.10.0.5')! },
    { instanceId: 0, address: parseIpAddress('fd00:10::5')! },
  ],
}
const receiver: StoredRecord & { kind: 'group-receiver' } = {
  kind: 'group-receiver',
  name: '[7](10.1.0.5,232.1.1.1)',
  owner: '00112233445566778899aabbccddeeff',
  address: { kind: 'ip', address: parseIpAddress('192.0.2.9')! },
  level: 128,
  nonce: (1n << 63n) + 7n,
}
const relay: StoredRecord & { kind: 'group-receiver' } = {
  ...receiver,
  name: '[7](*,*)',
  level: 1,
  relay: {
    ...{ target: parseIpAddress('fd00:c:9::1')!, site: 'relays' },
    ...{ keyId: 1, authenticationLength: 32 },
  },
}

const described: StoredRecord = {
  kind: 'described-registration',
  site: 'cloud',
  name: '[7]"ietf"',
  owner: '00112233445566778899aabbccddeeff',
  source: parseIpAddress('fd00:c:1::1')!,
  keyId: 2,
  proxyReply: true,
  record: Uint8Array.of(0, 255, 7),
  expiresAt: 1_800_000_000_123.5,
}

const childPath = fileURLToPath(new URL('./saving-child.js', import.meta.url))

t.test('every kind of record reads back as it was written', async (t) => {
  const hanging = { ...receiver, below: '0a0b' }
  const others = [subscription, ownKey, owed, own, workload, receiver, hanging, relay, described]
  for (const record of [registration, reservation, lastNonce, ...others]) {
    t.same(decodeRecord(encodeRecord(record as never)), record)
  }
  t.equal(decodeRecord(Uint8Array.of(0xff, 0xff, 0xff)), undefined, 'garbage is no record')
  t.equal(decodeRecord(new Uint8Array(0)), undefined, 'nothing is no record')
})

const implementations: Record<string, (directory: string) => Promise<Store>> = {
  memory: async () => createMemoryStore(),
  embedded: (directory) => openEmbeddedStore(directory, (key) => t.fail(`unreadable ${key}`)),
}
for (const [name, open] of Object.entries(implementations)) {
  t.test(`${name}: a record replaces the one with its key, a removal removes it`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'godwit-store-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const store = await open(directory)
    await store.save([registration, reservation, lastNonce])
    await store.save([
      { ...reservation, ceiling: 7n } as StoredRecord,
      { ...lastNonce, nonce: 9n } as StoredRecord,
    ])
    t.same(
      sorted(await store.load()),
      sorted([
        registration,
        { kind: 'reservation', scope: 'register', ceiling: 7n },
        { kind: 'last-nonce', sender: '172.16.1.1/1', nonce: 9n },
      ]),
    )
    const { eidPrefix, owner } = registration
    await store.save([{ kind: 'registration-removed', eidPrefix, owner }])
    t.notOk((await store.load()).some(({ kind }) => kind.startsWith('registration')))
    const again = { ...registration, owner: 'other' }
    await store.save([again, { kind: 'registration-removed', eidPrefix, owner: 'other' }])
    t.notOk(
      (await store.load()).some(({ kind }) => kind.startsWith('registration')),
      'in order',
    )
    await store.save([owed])
    t.ok((await store.load()).some(({ kind }) => kind === 'pending-notify'))
    await store.save([{ ...owed, kind: 'pending-notify-removed' } as StoredRecord])
    t.notOk((await store.load()).some(({ kind }) => kind.startsWith('pending')))
    await store.close()
  })

  t.test(`${name}: many saves at once are all there afterwards`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'godwit-store-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const store = await open(directory)
    const saves = Array.from({ length: 500 }, (_, index) =>
      store.save([{ kind: 'reservation', scope: `scope-${index}`, ceiling: BigInt(index) }]),
    )
    await Promise.all(saves)
    t.equal((await store.load()).length, 500)
    await store.close()
  })
}

t.test('embedded: what another process has open is refused with a sentence', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-store-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const store = await openEmbeddedStore(directory, () => {})
  await t.rejects(
    openEmbeddedStore(directory, () => {}),
    /in use by another godwitd/,
  )
  await store.close()
})

t.test('embedded: everything acknowledged before kill -9 is there afterwards', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-store-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const child = spawn(process.execPath, [childPath, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const acknowledged: string[] = []
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  for await (const line of createInterface({ input: child.stdout! })) {
    acknowledged.push(line)
    if (acknowledged.length === 200) child.kill('SIGKILL')
  }
  await ended
  t.ok(acknowledged.length >= 200, 'the child was killed while it was saving')
  const store = await openEmbeddedStore(directory, (key) => t.fail(`unreadable ${key}`))
  const found = new Set((await store.load()).map(recordKey))
  const lost = acknowledged.filter((scope) => !found.has(`reservation/${scope}`))
  t.same(lost, [])
  await store.close()
})

function sorted(records: readonly StoredRecord[]): StoredRecord[] {
  return [...records].sort((a, b) => recordKey(a).localeCompare(recordKey(b)))
}
