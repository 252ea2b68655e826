/**
 * The API of a node with 100,000 entries, and how long things take as metrics tell it.
 */
import { request } from 'node:http'
import t from 'tap'
import type { ApiDatapath } from '../../src/api/context.js'
import { createMetrics } from '../../src/api/metrics.js'
import { selectEntries } from '../../src/api/selection.js'
import { startApi } from '../../src/api/server.js'
import { createTableReader } from '../../src/api/table-reader.js'
import type { Event } from '../../src/control/event.js'
import { aConfig, aDatapath, createFakeNode } from '../support/fake-node.js'

const ENTRIES = 100_000
const node = createFakeNode()
const snapshot = node.snapshot()
const [model] = snapshot.mapCache
const mapCache = Array.from({ length: ENTRIES }, (_, index) => {
  const eidPrefix = `[7]10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}/32`
  return { ...model!, eidPrefix }
})
const asked: number[] = []
const datapath: ApiDatapath = {
  counters: aDatapath.counters,
  mappingCounters(wanted) {
    asked.push(wanted?.eidPrefixes.length ?? ENTRIES)
    return (wanted?.eidPrefixes ?? []).map((eidPrefix) => {
      return { table: 'map-cache', eidPrefix, packets: 1n, bytes: 2n, idleMs: undefined }
    })
  },
}

t.test('pages cost what they show, and all pages together are the table', async (t) => {
  node.snapshot = () => ({ ...snapshot, mapCache })
  const config = aConfig()
  const options = { node, datapath, config, version: '1', startedAt: new Date() }
  const api = await startApi(options)
  t.teardown(() => api.close())
  const get = async (query: string) => {
    const { status, text } = await fetchText(config.api.socket, `/v1/map-cache?${query}`)
    return { status, bytes: text.length, body: JSON.parse(text) }
  }

  const first = await get('limit=10')
  t.match(first.body, { total: ENTRIES, offset: 0, ageMs: 0 })
  t.equal(first.body.mapCache.length, 10)
  t.ok(first.bytes < 4000, `${first.bytes} bytes`)
  t.same(asked.splice(0), [10], 'the datapath is asked about these ten only')
  t.same(first.body.mapCache[9].counters, { packets: 1, bytes: 2 })

  const whole = await get('')
  t.equal(whole.body.mapCache.length, 1000, 'a page unless told otherwise')
  const seen = new Set<string>()
  for (let offset = 0; offset < ENTRIES; offset += 10_000) {
    const page = await get(`limit=10000&offset=${offset}`)
    for (const { eidPrefix } of page.body.mapCache) seen.add(eidPrefix)
  }
  t.equal(seen.size, ENTRIES)
  t.same((await get(`offset=${ENTRIES}`)).body.mapCache, [])
  t.same((await get('eid=10.0.5.5&instanceId=7')).body.mapCache.length, 1)
  for (const query of ['limit=10001', 'limit=0', 'offset=-1', 'offset=x']) {
    t.equal((await get(query)).status, 400, query)
  }
})

t.test('the longest match is found by text, in both families and instances', async (t) => {
  const table = [
    { eidPrefix: '[7]10.0.0.0/8', instanceId: 7 },
    { eidPrefix: '[7]10.1.0.0/16', instanceId: 7, site: 'one' },
    { eidPrefix: '[7]10.1.0.0/16', instanceId: 7, site: 'two' },
    { eidPrefix: '10.1.0.0/24', instanceId: 0 },
    { eidPrefix: '[7]0.0.0.0/0', instanceId: 7 },
    { eidPrefix: '[7]fd00:10::/64', instanceId: 7 },
    { eidPrefix: '[7]fd00:10::5/128', instanceId: 7 },
  ]
  const found = (eid: string, instanceId?: number) =>
    selectEntries(
      { table, ageMs: 0 },
      { eid, ...(instanceId === undefined ? {} : { instanceId }) },
    ).entries.map(({ eidPrefix }) => eidPrefix)
  t.same(found('[7]10.1.2.3'), ['[7]10.1.0.0/16', '[7]10.1.0.0/16'], 'several may own one prefix')
  t.same(found('10.1.0.3'), ['10.1.0.0/24'])
  t.same(found('10.2.0.3', 7), ['[7]10.0.0.0/8'])
  t.same(found('192.0.2.1', 7), ['[7]0.0.0.0/0'])
  t.same(found('FD00:10:0:0::5', 7), ['[7]fd00:10::5/128'])
  t.same(found('fd00:10::6', 7), ['[7]fd00:10::/64'])
  t.same(found('fd00:11::6', 7), [])
})

t.test('a dear snapshot is read once for many requests, and anew after a command', async (t) => {
  let made = 0
  const busy = (ms: number): void => {
    const until = performance.now() + ms
    while (performance.now() < until);
  }
  let costMs = 25
  const tables = createTableReader(() => {
    made += 1
    busy(costMs)
    return snapshot
  })
  t.equal(tables.read().ageMs, 0)
  t.ok(tables.read().ageMs >= 25)
  t.equal(made, 1)
  tables.forget()
  tables.read()
  t.equal(made, 2)
  tables.forget()
  costMs = 0
  tables.read()
  tables.read()
  t.equal(made, 4, 'a cheap one is always new')
})

t.test('histograms: answers, holds, and the stages of a move', async (t) => {
  const sources = { node: 'fake', version: '1', startedAt: new Date(), datapath: undefined }
  const metrics = createMetrics({ ...sources, snapshot: () => snapshot, followers: () => 0 })
  const tell = (name: Event['name'], fields: object, atMs = 0): void =>
    metrics.countEvent({ name, severity: 'info', ...fields }, new Date(1_000_000 + atMs))
  tell('map-reply-received', { waitedMs: 3 })
  tell('map-reply-received', { waitedMs: 4000 })
  tell('hold-released', { heldMs: 7, packets: 2 })
  tell('move-requested', { moveId: 'a' })
  tell('move-prepared', { moveId: 'a' }, 8)
  tell('move-endpoint-seen', { moveId: 'a' }, 12)
  tell('move-converged', { moveId: 'a' }, 50)
  tell('move-converged', { moveId: 'a' }, 90_000)
  tell('move-converged', { moveId: 'detected' }, 60)
  tell('move-requested', { moveId: 'b' })
  tell('move-failed', { moveId: 'b', reason: 'endpoint-absent' }, 2000)
  const { text } = await metrics.render()
  const value = (line: string): string | undefined =>
    text
      .split('\n')
      .find((one) => one.startsWith(line))
      ?.split(' ')
      .at(-1)
  t.equal(value('godwit_map_request_seconds_count'), '2')
  t.equal(value('godwit_map_request_seconds_sum'), '4.003')
  t.equal(value('godwit_map_request_seconds_bucket{le="0.005"'), '1')
  t.equal(value('godwit_hold_seconds_sum'), '0.007')
  for (const [stage, sum] of [
    ['ready', '0.008'],
    ['endpoint-seen', '0.012'],
    ['converged', '0.05'],
  ] as const) {
    t.equal(value(`godwit_move_seconds_count{node="fake",stage="${stage}"}`), '1', stage)
    t.equal(value(`godwit_move_seconds_sum{node="fake",stage="${stage}"}`), sum, stage)
  }
  t.notMatch(text, 'stage="failed"', 'a move that failed took no time worth a place')
})

function fetchText(socketPath: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}
