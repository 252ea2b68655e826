/**
 * The API as its users meet it: real HTTP over the Unix socket, against a node of plain values.
 * Every JSON answer is checked against the schema that the served OpenAPI document promises for it.
 */
import { statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createConnection, createServer } from 'node:net'
import t from 'tap'
import type { Static, Type } from 'typebox'
import { Compile } from 'typebox/schema'
import { createEventLog } from '../../src/api/event-log.js'
import { createIdempotentAnswers } from '../../src/api/idempotency.js'
import { createMetrics } from '../../src/api/metrics.js'
import { type Api, startApi } from '../../src/api/server.js'
import type {
  DescribedEidView,
  JsonOf,
  LocatorStateView,
  mapCacheFields,
  mappingDatabaseFields,
  RegistrationView,
  SiteView,
} from '../../src/api/views.js'
import type { Event } from '../../src/control/event.js'
import type * as Snapshot from '../../src/control/snapshot.js'
import {
  aConfig,
  aDatapath,
  aMove,
  createFakeNode,
  type FakeNode,
  someGroupPackets,
} from '../support/fake-node.js'

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: answers are compared as JSON
  readonly json: any
}

type Document = {
  openapi: string
  paths: Record<string, Record<string, { responses: Record<string, ResponseObject> }>>
}
type ResponseObject = { content?: Record<string, { schema: object }> }

const node: FakeNode = createFakeNode()
const config = aConfig()
const socket = config.api.socket
let api: Api
let document: Document

t.before(async () => {
  const startedAt = new Date(Date.now() - 5000)
  const counted = { datapath: aDatapath, groupPackets: someGroupPackets }
  api = await startApi({ node, ...counted, config, version: '1.2.3', startedAt })
  document = (await call('GET', '/openapi.json')).json as Document
})
t.teardown(() => api.close())

t.test('the socket is for owner and group only, and its address is reported', async (t) => {
  t.equal(statSync(socket).mode & 0o777, 0o660)
  t.same(api.addresses, [`unix:${socket}`])
})

t.test('the document is OpenAPI 3.1 and names every resource', async (t) => {
  t.equal(document.openapi, '3.1.0')
  t.same(Object.keys(document.paths).sort(), [
    '/metrics',
    '/v1/described-eids',
    '/v1/endpoints/events',
    '/v1/events',
    '/v1/health',
    '/v1/locators',
    '/v1/map-cache',
    '/v1/map-cache/{prefix}',
    '/v1/mapping-database',
    '/v1/mapping-database/{prefix}',
    '/v1/move-batches',
    '/v1/move-batches/{batchId}',
    '/v1/moves',
    '/v1/moves/{moveId}',
    '/v1/multicast/groups',
    '/v1/multicast/listeners',
    '/v1/multicast/routers',
    '/v1/node',
    '/v1/queries',
    '/v1/registrations',
    '/v1/sites',
    '/v1/subscriptions',
    '/v1/why',
    '/v1/workloads',
    '/v1/workloads/{workloadId}',
  ])
})

t.test('health and node tell who it is and what its datapath did', async (t) => {
  const health = await get(t, '/v1/health')
  t.match(health, { ok: true, node: 'cloud-b', roles: ['itr', 'etr'], version: '1.2.3' })
  t.ok(health.uptimeSeconds >= 5 && health.uptimeSeconds < 60)
  t.same(
    health.checks.map((check: { name: string }) => check.name),
    ['tables', 'datapath'],
  )
  const information = await get(t, '/v1/node')
  t.same(information.entries, {
    mapCache: 3,
    mappingDatabase: 2,
    registrations: 1,
    subscriptions: 1,
    moves: 1,
  })
  t.same(information.datapath.drops['unknown-eid'], { packets: 3, bytes: 252 })
  t.equal(information.datapath.hold.dropped['endpoint-absent'], 1)
  t.notMatch(JSON.stringify(information), /secret|site\.key/)
})

t.test('a node that cannot read its tables is unhealthy with the reason', async (t) => {
  const broken = {
    ...node,
    tables: { ...node.tables, sizes: () => assertNever('tables are gone') },
  }
  const other = aConfig()
  const options = { node: broken, datapath: undefined, config: other, version: '1' }
  const server = await startApi({ ...options, startedAt: new Date() })
  const answer = await call('GET', '/v1/health', { socketPath: other.api.socket })
  t.equal(answer.status, 503)
  t.same(answer.json.checks, [{ name: 'tables', ok: false, detail: 'tables are gone' }])
  const table = await call('GET', '/v1/node', { socketPath: other.api.socket })
  t.equal(table.status, 500)
  t.same(table.json.error.code, 'internal-error')
  t.notMatch(table.text, /tables are gone/, 'a fault of ours is not told outside')
  await server.close()
})

t.test('tables come whole, by instance-ID, by longest match, and cut by limit', async (t) => {
  const all = await get(t, '/v1/map-cache')
  t.equal(all.total, 3)
  t.same(all.mapCache[1].counters, { packets: 1200, bytes: 100_800, idleMs: 12 })
  t.notOk('counters' in all.mapCache[2], 'an entry without datapath counters has none')
  const prefixes = async (query: string) =>
    (await get(t, `/v1/map-cache?${query}`, '/v1/map-cache')).mapCache.map(
      (entry: { eidPrefix: string }) => entry.eidPrefix,
    )
  t.same(await prefixes('instanceId=0'), ['10.20.0.0/16'])
  t.same(await prefixes('eid=10.20.0.200&instanceId=7'), ['[7]10.20.0.128/25'])
  t.same(await prefixes('eid=[7]10.20.0.9'), ['[7]10.20.0.0/24'])
  t.same(await prefixes('eid=10.20.0.9'), ['10.20.0.0/16'])
  t.same(await prefixes('eid=10.99.0.9'), [])
  t.same(await prefixes('limit=1'), ['10.20.0.0/16'])
  t.same(await prefixes('limit=1&after=10.20.0.0/16'), ['[7]10.20.0.0/24'])
  const database = await get(t, '/v1/mapping-database?instanceId=7', '/v1/mapping-database')
  t.same(database.mappingDatabase[1].counters, { packets: 9, bytes: 756 })
  t.notOk('mac' in database.mappingDatabase[0])
  t.equal((await get(t, '/v1/registrations')).registrations[0].site, 'clouds')
  t.match(await get(t, '/v1/described-eids?limit=1', '/v1/described-eids'), {
    total: 2,
    describedEids: [{ kind: 'place' }],
  })
  t.equal((await get(t, '/v1/sites')).sites[0].registrations, 1)
  t.equal((await get(t, '/v1/subscriptions')).subscriptions[0].state, 'subscribed')
  const groups = '/v1/multicast/groups'
  const page = await get(t, `${groups}?instanceId=7&limit=1`, groups)
  t.match(page, { total: 2, next: '[7](*,239.1.1.1)', groups: [{ group: '[7](*,239.1.1.1)' }] })
  const after = encodeURIComponent(page.next)
  const rest = await get(t, `${groups}?after=${after}`, groups)
  t.match(rest, { groups: [{ copies: ['192.0.2.9'], side: 'xtr', listeners: 2 }] })
  t.match(rest.groups[0].counters, { packets: 7, bytes: 700, idleMs: 20 })
  t.equal(rest.groups.length, 1)
  t.same((await get(t, `${groups}?instanceId=8`, groups)).groups, [])
  t.match((await get(t, '/v1/locators')).locators[1], { reachable: false, pathMtu: 1400 })
})

t.test('table commands reach the node as values', async (t) => {
  node.commands.length = 0
  node.answer = async () => ({ ok: true, value: undefined })
  t.equal((await call('DELETE', '/v1/map-cache')).status, 204)
  const one = await call('DELETE', `/v1/map-cache/${encodeURIComponent('[7]10.20.0.0/24')}`)
  t.equal(one.status, 204)
  const body = { eidPrefix: '10.10.0.6', instanceId: 7, interfaceName: 'br0' }
  const added = await call('POST', '/v1/mapping-database', { body })
  t.equal(added.status, 201)
  t.same(added.json, { eidPrefix: '[7]10.10.0.6/32', interfaceName: 'br0' })
  const removed = '/v1/mapping-database/10.10.0.6%2F32?instanceId=7'
  t.equal((await call('DELETE', removed)).status, 204)
  const host = { instanceId: 7, address: v4(10, 10, 0, 6), maskLength: 32 }
  t.same(node.commands, [
    { kind: 'clear-map-cache', eidPrefix: undefined },
    {
      kind: 'clear-map-cache',
      eidPrefix: { instanceId: 7, address: v4(10, 20, 0, 0), maskLength: 24 },
    },
    { kind: 'add-eid', eidPrefix: host, interfaceName: 'br0' },
    { kind: 'remove-eid', eidPrefix: host },
  ])
})

t.test('a query answers what the mapping system said, 64-bit numbers as text', async (t) => {
  node.answer = async () => ({ ok: true, value: { eidPrefix: '[7]10.20.0.0/24', nonce: 5n } })
  const answer = await call('POST', '/v1/queries', { body: { eid: '[7]10.20.0.2' } })
  t.equal(answer.status, 200)
  t.match(answer.json, {
    eid: '[7]10.20.0.2',
    result: { eidPrefix: '[7]10.20.0.0/24', nonce: '5' },
  })
  conforms(t, 'post', '/v1/queries', answer)
})

t.test('every mistake is answered with status, code, message and field', async (t) => {
  node.answer = async () => ({ ok: false, status: 409, code: 'move-in-progress', message: 'busy' })
  const cases: [string, string, object, number, string, string | undefined][] = [
    ['GET', '/v2/nothing', {}, 404, 'not-found', undefined],
    ['POST', '/v1/health', { body: {} }, 404, 'not-found', undefined],
    ['GET', '/v1/map-cache?eid=10.1', {}, 400, 'invalid-eid', 'query.eid'],
    ['GET', '/v1/map-cache?limit=0', {}, 400, 'invalid-request', 'query.limit'],
    ['GET', '/v1/map-cache?limti=5', {}, 400, 'invalid-request', 'query.limti'],
    ['DELETE', '/v1/map-cache/10.1.0.1%2F16', {}, 400, 'invalid-eid-prefix', 'path.prefix'],
    ['POST', '/v1/moves', { body: {} }, 400, 'invalid-request', 'body.eids'],
    ['POST', '/v1/moves', { body: { eids: [] } }, 400, 'invalid-request', 'body.eids'],
    ['POST', '/v1/moves', { body: { eids: [1] } }, 400, 'invalid-request', 'body.eids[0]'],
    ['POST', '/v1/moves', { body: { eids: ['x'] } }, 400, 'invalid-eid', 'body.eids[0]'],
    [
      'POST',
      '/v1/moves',
      { body: { eids: ['10.1.1.1'], source: 'cloud-a' } },
      400,
      'invalid-rloc',
      'body.source',
    ],
    ['POST', '/v1/moves', { body: { eids: ['10.1.1.1'] } }, 409, 'move-in-progress', undefined],
    ['POST', '/v1/moves', { raw: '{"eids":' }, 400, 'invalid-json', undefined],
    [
      'POST',
      '/v1/moves',
      { raw: 'eids', type: 'text/xml' },
      415,
      'unsupported-media-type',
      undefined,
    ],
    ['POST', '/v1/moves', { raw: `"${'x'.repeat(70_000)}"` }, 413, 'body-too-large', undefined],
    ['GET', '/v1/moves/unknown', {}, 404, 'move-not-found', undefined],
    ['GET', '/v1/events?name=nothing', {}, 400, 'unknown-event-name', 'query.name'],
  ]
  for (const [method, path, options, status, code, field] of cases) {
    const answer = await call(method, path, options)
    const { error } = answer.json
    const what = `${method} ${path}`
    t.equal(answer.status, status, what)
    t.equal(error.code, code, what)
    t.equal(error.field, field, what)
    t.ok(error.message.length > 3, what)
  }
})

t.test('a node that is going away is a 500 without its reason', async (t) => {
  node.answer = () => Promise.reject(new Error('stopping'))
  const answer = await call('DELETE', '/v1/map-cache')
  t.equal(answer.status, 500)
  t.equal(answer.json.error.code, 'internal-error')
})

t.test('a move is created, read, listed and rolled back', async (t) => {
  const move = aMove({ moveId: 'm1', state: 'ready' })
  node.commands.length = 0
  node.answer = async (command) => {
    node.moves = command.kind === 'start-move' ? [move] : [aMove({ moveId: 'm1', state: 'failed' })]
    return { ok: true, value: command.kind === 'start-move' ? move : undefined }
  }
  const body = { eids: ['10.10.0.5', 'fd00:10::5'], instanceId: 7, source: '172.16.1.1' }
  const created = await call('POST', '/v1/moves', { body })
  t.equal(created.status, 201)
  conforms(t, 'post', '/v1/moves', created)
  t.match(created.json, { moveId: 'm1', state: 'ready' })
  const [requested, redirected] = created.json.timeline
  t.equal(Date.parse(redirected.at) - Date.parse(requested.at), 4)
  t.match(node.commands[0], { kind: 'start-move', source: v4(172, 16, 1, 1) })
  t.equal((await get(t, '/v1/moves')).moves.length, 1)
  t.equal((await get(t, '/v1/moves/m1', '/v1/moves/{moveId}')).moveId, 'm1')
  const cancelled = await call('DELETE', '/v1/moves/m1')
  t.equal(cancelled.json.state, 'failed')
  conforms(t, 'delete', '/v1/moves/{moveId}', cancelled)
  t.match(node.commands[1], { kind: 'cancel-move', moveId: 'm1' })
})

t.test('a hypervisor tells what its endpoint does, by event or by phase', async (t) => {
  node.commands.length = 0
  node.moves = [aMove({ moveId: 'm5', state: 'ready' })]
  node.answer = async () => ({ ok: true, value: { moves: ['m5'] } })
  const eids = ['[7]10.10.0.5']
  const body = { event: 'stopped', eids, agoMs: 3.5, gone: true }
  const stopped = await call('POST', '/v1/endpoints/events', { body })
  t.equal(stopped.status, 200)
  conforms(t, 'post', '/v1/endpoints/events', stopped)
  t.match(stopped.json, { moves: [{ moveId: 'm5' }] })
  t.match(node.commands.at(-1), { kind: 'endpoint-stopped', agoMs: 3.5, gone: true })
  const told = async (saidAtMs: number): Promise<number> => {
    await call('POST', '/v1/endpoints/events', { body: { ...body, saidAtMs } })
    return (node.commands.at(-1) as { agoMs?: number }).agoMs ?? Number.NaN
  }
  const nowMs = Number(process.hrtime.bigint()) / 1e6
  const aged = await told(nowMs - 500)
  t.ok(
    aged >= 503.5 && aged < 30_000,
    `words that waited half a second make the stop ${aged} ms old`,
  )
  t.equal(await told(nowMs + 3_600_000), 3.5, 'another host’s clock counts for nothing')
  t.equal(await told(nowMs - 3_600_000 > 0 ? nowMs - 3_600_000 : 0), 3.5, 'nor does long ago')
  for (const [event, kind] of [
    ['running', 'endpoint-running'],
    ['resumed', 'endpoint-resumed'],
  ]) {
    await call('POST', '/v1/endpoints/events', { body: { event, eids } })
    t.match(node.commands.at(-1), { kind })
  }
  const confirmed = await call('POST', '/v1/moves', { body: { eids, phase: 'confirm' } })
  t.equal(confirmed.json.moveId, 'm5')
  t.match(node.commands.at(-1), { kind: 'endpoint-running' })
  await call('POST', '/v1/moves', { body: { eids, phase: 'switch' } })
  t.match(node.commands.at(-1), { kind: 'endpoint-stopped', agoMs: 0 })
  node.answer = async () => ({ ok: true, value: { moves: [] } })
  const nobody = await call('POST', '/v1/moves', { body: { eids, phase: 'confirm' } })
  t.equal(nobody.status, 404)
  const wrong = await call('POST', '/v1/endpoints/events', { body: { event: 'x', eids } })
  t.equal(wrong.status, 400)
})

t.test('a repeated Idempotency-Key moves once, even while the first is under way', async (t) => {
  const move = aMove({ moveId: 'm2', state: 'ready' })
  let finish: () => void = () => undefined
  node.commands.length = 0
  node.answer = () =>
    new Promise((resolve) => {
      finish = () => resolve({ ok: true, value: move })
    })
  const headers = { 'idempotency-key': 'k-1' }
  const first = call('POST', '/v1/moves', { body: { eids: ['10.1.1.1'], instanceId: 7 }, headers })
  const second = call('POST', '/v1/moves', { body: { instanceId: 7, eids: ['10.1.1.1'] }, headers })
  const other = await call('POST', '/v1/moves', { body: { eids: ['10.1.1.2'] }, headers })
  t.equal(other.status, 422)
  t.match(other.json.error, { code: 'idempotency-key-reused', field: 'header.idempotency-key' })
  finish()
  const answers = await Promise.all([first, second])
  t.same(
    answers.map(({ status }) => status),
    [201, 201],
  )
  t.equal(answers[0].text, answers[1].text)
  t.equal(node.commands.length, 1)
  t.same(answers.map(({ headers }) => headers['idempotency-replayed']).sort(), ['true', undefined])
  node.answer = async () => ({ ok: false, status: 404, code: 'eid-not-allowed', message: 'no' })
  const refusedKey = { 'idempotency-key': 'k-2' }
  const ask = () => call('POST', '/v1/moves', { body: { eids: ['10.9.9.9'] }, headers: refusedKey })
  const refused = await ask()
  t.equal(refused.status, 404)
  t.equal((await ask()).text, refused.text, 'a refusal is repeated too')
  t.equal(node.commands.length, 2)
})

t.test('stored answers are bounded by number and age, those under way are kept', async (t) => {
  let now = 0
  const answers = createIdempotentAnswers(() => now, 2)
  let ran = 0
  const act = async () => ({ status: 201, body: ++ran })
  const pending = new Promise<{ status: number; body: unknown }>(() => undefined)
  void answers.once('slow', {}, () => pending)
  await answers.once('a', {}, act)
  await answers.once('b', {}, act)
  t.equal((await answers.once('b', {}, act)).replayed, true)
  t.equal((await answers.once('a', {}, act)).replayed, false, 'a made room for b')
  now += 24 * 3600 * 1000
  t.equal((await answers.once('a', {}, act)).replayed, false, 'a is a day old')
  void answers.once('slow2', {}, () => pending)
  await t.rejects(answers.once('c', {}, act), { message: /wait for answers/ })
  await t.rejects(
    createIdempotentAnswers(() => 0).once('x', {}, () => Promise.reject(new Error('boom'))),
    { message: 'boom' },
  )
})

t.test(
  'events stream as they happen, filtered by name, and replay after Last-Event-ID',
  async (t) => {
    const stream = await openStream('/v1/events?name=locator-up,locator-down')
    t.equal(stream.contentType, 'text/event-stream')
    await stream.until(/: following/)
    node.emit(anEvent('eid-arrived', { eid: '[7]10.10.0.5' }))
    node.emit(anEvent('locator-down', { rloc: '172.16.3.1', reason: 'no-reply' }))
    const text = await stream.until(/locator-down[\s\S]*\n\n$/)
    t.notMatch(text, /eid-arrived/)
    const id = /^id: (\S+)$/m.exec(text)?.[1] ?? ''
    t.match(JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? ''), {
      at: '2025-01-02T03:04:05.678Z',
      name: 'locator-down',
      severity: 'notice',
      reason: 'no-reply',
      rloc: '172.16.3.1',
    })
    stream.close()
    node.emit(anEvent('locator-up', { rloc: '172.16.3.1' }))
    node.emit(anEvent('eid-departed', {}))
    const replay = await openStream('/v1/events?follow=false', { 'last-event-id': id })
    const names = [...(await replay.end()).matchAll(/^event: (.*)$/gm)].map((match) => match[1])
    t.same(names, ['locator-up', 'eid-departed'])
    const last = await openStream('/v1/events?follow=false&backlog=1')
    t.match(await last.end(), /^id: \S+\nevent: eid-departed\n/)
    const foreign = await openStream('/v1/events?follow=false', { 'last-event-id': 'abc-99' })
    t.match(await foreign.end(), /event: eid-arrived/, 'an id of another run gets everything')
  },
)

t.test('a consumer that does not read is cut off and counted', async (t) => {
  const before = node.listeners()
  const dead = createConnection({ path: socket })
  dead.on('error', () => undefined)
  dead.pause()
  dead.write('GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await new Promise((resolve) => dead.once('connect', resolve))
  await metricReaches(/godwit_event_followers\{[^}]*\} 1\n/)
  const padding = 'x'.repeat(100_000)
  for (let count = 0; count < 60; count++) node.emit(anEvent('locator-up', { padding }))
  await metricReaches(/godwit_event_followers_dropped_total\{[^}]*\} 1\n/)
  await metricReaches(/godwit_event_followers\{[^}]*\} 0\n/)
  t.equal(node.listeners(), before)
  dead.destroy()
})

t.test('the backlog is bounded and says how many events it lost', async (t) => {
  const log = createEventLog(new Date(1), 3)
  const followed: number[] = []
  const stop = log.follow(({ number }) => followed.push(number))
  for (let count = 0; count < 5; count++) log.append(anEvent('locator-up', {}), new Date(count))
  stop?.()
  log.append(anEvent('locator-up', {}), new Date(9))
  const { entries, missed } = log.since('1-1')
  t.same(
    entries.map(({ number }) => number),
    [4, 5, 6],
  )
  t.equal(missed, 2)
  t.same(followed, [1, 2, 3, 4, 5])
  t.same(log.since('1-6'), { entries: [], missed: 0 })
})

t.test('metrics count events by reason and read datapath and tables when asked', async (t) => {
  node.emit(anEvent('map-reply-rejected', { reason: 'unknown-nonce' }))
  node.emit(anEvent('map-reply-rejected', { reason: 'unknown-nonce' }))
  const { text, headers } = await call('GET', '/metrics')
  t.match(headers['content-type'], /^text\/plain/)
  const value = (name: string, label = ''): string | undefined =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${name}{`) && line.includes(label))
      ?.split(' ')
      .at(-1)
  t.equal(value('godwit_map_reply_rejected_total', 'reason="unknown-nonce"'), '2')
  t.equal(value('godwit_datapath_drops_total', 'reason="unknown-eid"'), '3')
  t.equal(value('godwit_datapath_drops_total', 'reason="malformed-inner"'), '0')
  t.equal(value('godwit_datapath_packets_total', 'kind="encapsulated"'), '1200')
  t.equal(value('godwit_datapath_hold_packets'), '2')
  t.equal(value('godwit_group_control_packets_total', 'kind="igmp-received"'), '12')
  t.equal(value('godwit_group_control_drops_total', 'reason="segment-fragment"'), '2')
  t.equal(value('godwit_group_control_drops_total', 'reason="join-cut-short"'), '0')
  t.equal(value('godwit_datapath_hold_released_total'), '37')
  t.equal(value('godwit_datapath_hold_dropped_total', 'endpoint-absent'), '1')
  t.equal(value('godwit_map_cache_entries'), '3')
  t.equal(value('godwit_locators_unreachable'), '1')
  t.equal(value('godwit_locators_narrowed'), '1')
  t.ok(Number(value('process_resident_memory_bytes')) > 1e6)
  const again = (await call('GET', '/metrics')).text
  t.match(again, /godwit_datapath_packets_total\{kind="encapsulated",[^}]*\} 1200\n/)
})

t.test('a scrape shows the counts of its own moment, also the first one', async (t) => {
  let encapsulated = 7
  const metrics = createMetrics({
    node: 'fake',
    version: '1',
    startedAt: new Date(),
    sizes: () => node.tables.sizes(),
    datapath: { counters: () => ({ ...aDatapath.counters(), tallies: { encapsulated } }) },
    followers: () => 0,
  })
  const line = /packets_total\{kind="encapsulated"[^}]*\} (\d+)/
  t.equal(line.exec((await metrics.render()).text)?.[1], '7')
  encapsulated = 8
  t.equal(line.exec((await metrics.render()).text)?.[1], '8')
  t.match((await metrics.render()).text, /godwit_map_cache_entries\{[^}]*\} 3\n/)
})

t.test('a stale socket is replaced, a live one and a foreign file are not', async (t) => {
  const options = { node, datapath: undefined, version: '1', startedAt: new Date() }
  await t.rejects(startApi({ ...options, config }), { message: /another process answers on/ })
  t.equal((await call('GET', '/v1/health')).status, 200, 'the first one still answers')
  const stale = aConfig()
  writeFileSync(stale.api.socket, 'not a socket')
  await t.rejects(startApi({ ...options, config: stale }), { message: /is not a socket/ })
  const left = aConfig()
  await leaveStaleSocket(left.api.socket)
  t.ok(statSync(left.api.socket).isSocket())
  const server = await startApi({ ...options, config: left })
  t.equal((await call('GET', '/v1/health', { socketPath: left.api.socket })).status, 200)
  await server.close()
  t.throws(() => statSync(left.api.socket), { code: 'ENOENT' }, 'closing removes the socket')
})

t.test('metrics show what became of control datagrams', async (t) => {
  const metrics = createMetrics({
    ...{ node: 'a', version: '1', startedAt: new Date(), datapath: undefined },
    ...{ sizes: node.tables.sizes, followers: () => 0 },
    sockets: () => ({
      control: { received: 3, 'dropped-by-kernel': 2 },
      unsent: { EINVAL: 4 },
    }),
  })
  for (let scrape = 0; scrape < 2; scrape += 1) {
    const { text } = await metrics.render()
    t.match(text, /godwit_control_datagrams_total\{outcome="dropped-by-kernel"[^}]*\} 2\n/)
    t.match(text, /godwit_control_unsent_total\{reason="EINVAL"[^}]*\} 4\n/)
  }
})

t.test('plain TCP is for loopback, and only under a local name', async (t) => {
  const options = { node, datapath: undefined, version: '1', startedAt: new Date() }
  const open = aConfig()
  open.api.tcp = { address: '0.0.0.0', port: 1 }
  await t.rejects(startApi({ ...options, config: open }), { message: /not loopback/ })
  t.throws(() => statSync(open.api.socket), { code: 'ENOENT' }, 'nothing is left listening')
  const local = aConfig()
  const port = await freePort()
  local.api.tcp = { address: '127.0.0.1', port }
  const server = await startApi({ ...options, config: local })
  t.same(server.addresses.at(-1), `http://127.0.0.1:${port}`)
  t.equal((await call('GET', '/v1/health', { port })).status, 200)
  const rebound = await call('GET', '/v1/health', { port, headers: { host: 'evil.example' } })
  t.equal(rebound.status, 421)
  t.equal(rebound.json.error.code, 'host-not-allowed')
  await server.close()
})

// ------------------------------------------------------------------------- types tied to snapshot

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
type Fields<T extends Parameters<typeof Type.Object>[0]> = Static<ReturnType<typeof Type.Object<T>>>
/** Compiles only while views.ts says what control/snapshot.ts says. */
const tied: [
  Same<Fields<typeof mapCacheFields>, JsonOf<Snapshot.MapCacheView>>,
  Same<Fields<typeof mappingDatabaseFields>, JsonOf<Snapshot.MappingDatabaseView>>,
  Same<Static<typeof RegistrationView>, JsonOf<Snapshot.RegistrationView>>,
  Same<Static<typeof DescribedEidView>, JsonOf<Snapshot.DescribedEidView>>,
  Same<Static<typeof SiteView>, JsonOf<Snapshot.SiteView>>,
  Same<Static<typeof LocatorStateView>, JsonOf<Snapshot.LocatorStateView>>,
] = [true, true, true, true, true, true]

t.test('views and snapshot types are one', async (t) => {
  t.same(tied, [true, true, true, true, true, true])
})

// ------------------------------------------------------------------------------------ the client

interface CallOptions {
  readonly body?: unknown
  readonly raw?: string
  readonly type?: string
  readonly headers?: Record<string, string>
  readonly socketPath?: string
  readonly port?: number
}

function call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const payload =
    options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body))
  const type = options.type ?? 'application/json'
  const headers = {
    ...(payload === undefined ? {} : { 'content-type': type }),
    ...options.headers,
  }
  const place =
    options.port === undefined
      ? { socketPath: options.socketPath ?? socket }
      : { host: '127.0.0.1', port: options.port }
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...place, method, path, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        const isJson = response.headers['content-type']?.includes('json') ?? false
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson ? JSON.parse(text) : undefined,
        })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(payload)
  })
}

/** GET that must answer 200 with what the document promises; returns the JSON. */
async function get(t: TapTest, path: string, documented = path): Promise<Answer['json']> {
  const answer = await call('GET', path)
  t.equal(answer.status, 200, path)
  conforms(t, 'get', documented, answer)
  return answer.json
}

function conforms(t: TapTest, method: string, path: string, answer: Answer): void {
  const responses = document.paths[path]?.[method]?.responses
  const schema = responses?.[String(answer.status)]?.content?.['application/json']?.schema
  if (schema === undefined) {
    t.fail(`${method} ${path} ${answer.status} is not in the document`)
    return
  }
  const [ok, errors] = Compile(schema).Errors(answer.json)
  t.ok(ok, `${method} ${path} answers as documented`, { errors })
}

interface Stream {
  readonly contentType: string | undefined
  until(pattern: RegExp): Promise<string>
  end(): Promise<string>
  close(): void
}

function openStream(path: string, headers: Record<string, string> = {}): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: socket, path, headers, agent: false }, (response) => {
      let text = ''
      let ended = false
      let wake: () => void = () => undefined
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        wake()
      })
      response.on('end', () => {
        ended = true
        wake()
      })
      response.on('error', () => undefined)
      const waitFor = async (done: () => boolean): Promise<string> => {
        while (!done()) {
          if (ended) throw new Error(`the stream ended with: ${text}`)
          await new Promise<void>((next) => {
            wake = next
          })
        }
        return text
      }
      resolve({
        contentType: response.headers['content-type'],
        until: (pattern) => waitFor(() => pattern.test(text)),
        end: () => waitFor(() => ended),
        close: () => outgoing.destroy(),
      })
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

async function metricReaches(pattern: RegExp): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (pattern.test((await call('GET', '/metrics')).text)) return
  }
  throw new Error(`no metric ${pattern}`)
}

/** A socket file with nobody behind it, as a killed daemon leaves one. */
function leaveStaleSocket(path: string): Promise<void> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen({ path: `${path}.live` }, async () => {
      const { renameSync } = await import('node:fs')
      // Closing unlinks by the old name only, so the renamed file stays behind.
      renameSync(`${path}.live`, path)
      server.close(() => resolve())
    })
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

function anEvent(name: Event['name'], fields: Record<string, string>): Event {
  return { name, severity: 'notice', ...fields }
}

function v4(...bytes: number[]): { family: 4; bytes: Uint8Array } {
  return { family: 4, bytes: Uint8Array.from(bytes) }
}

function assertNever(message: string): never {
  throw new Error(message)
}

type TapTest = Pick<typeof t, 'equal' | 'ok' | 'fail'>
