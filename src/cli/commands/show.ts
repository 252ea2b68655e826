/**
 * `godwit show …`: the tables of a node, its moves, its counters. Columns are data, one list each.
 */
import type { Static } from 'typebox'
import type {
  DescribedEidView,
  LocatorStateView,
  MapCacheEntry,
  MappingDatabaseEntry,
  MoveEntryView,
  NodeInformation,
  RegistrationView,
  SiteView,
  SubscriptionView,
} from '../../api/views.js'
import {
  type Column,
  coloured,
  formatDuration,
  formatLocators,
  formatPrefix,
  formatTable,
} from '../columns.js'
import {
  type CliCommand,
  type CommandContext,
  numberOption,
  queryString,
  textOption,
} from '../command.js'
import { formatMove } from './move.js'
import { showMulticastCommand } from './show-multicast.js'

const SELECTION = [
  ['--eid <eid>', 'only the longest match of this EID'],
  ['--instance-id <number>', 'only this instance-ID'],
  ['--limit <number>', 'at most so many (default 1000)'],
  ['--after <prefix>', 'only what comes after this EID-prefix'],
] as const

/** Of a table that no EID-prefix leads into. */
const PAGING = [
  SELECTION[1],
  SELECTION[2],
  ['--after <text>', 'only what comes after this one, as the page before says'],
] as const

type MapCache = Static<typeof MapCacheEntry>
const mapCacheColumns: readonly Column<MapCache>[] = [
  { title: 'EID-PREFIX', text: formatPrefix },
  { title: 'ACTION', text: ({ action }) => action },
  { title: 'LOCATORS', text: ({ locators }) => formatLocators(locators) },
  { title: 'VERSION', text: ({ mapVersion }) => String(mapVersion), align: 'right' },
  {
    title: 'EXPIRES',
    // Own prefixes stay while they are ours, those that left while they are away.
    text: ({ origin, expiresInMs }) =>
      origin === 'local' || origin === 'away' ? '-' : formatDuration(expiresInMs),
    align: 'right',
  },
  { title: 'PACKETS', text: ({ counters }) => String(counters?.packets ?? '-'), align: 'right' },
  { title: 'BYTES', text: ({ counters }) => String(counters?.bytes ?? '-'), align: 'right' },
  { title: 'IDLE', text: ({ counters }) => formatDuration(counters?.idleMs), align: 'right' },
  { title: 'ORIGIN', text: ({ origin }) => origin },
]

type MappingDatabase = Static<typeof MappingDatabaseEntry>
const mappingDatabaseColumns: readonly Column<MappingDatabase>[] = [
  { title: 'EID-PREFIX', text: formatPrefix },
  { title: 'KIND', text: ({ kind }) => kind },
  { title: 'STATE', text: ({ state }) => state },
  { title: 'INTERFACE', text: ({ interfaceName }) => interfaceName },
  { title: 'MAC', text: ({ mac }) => mac ?? '-' },
  { title: 'VERSION', text: ({ mapVersion }) => String(mapVersion), align: 'right' },
  {
    title: 'REGISTERED',
    // A dynamic-EID prefix is where EIDs may appear; only they are registered.
    text: ({ kind, registered, registeredAgoMs }) =>
      registered
        ? `${formatDuration(registeredAgoMs)} ago`
        : kind === 'dynamic-prefix'
          ? '-'
          : 'no',
  },
]

type Registration = Static<typeof RegistrationView>
const registrationColumns: readonly Column<Registration>[] = [
  { title: 'EID-PREFIX', text: formatPrefix },
  { title: 'SITE', text: ({ site }) => site },
  { title: 'OWNER', text: ({ owner }) => owner },
  { title: 'LOCATORS', text: ({ locators }) => formatLocators(locators) },
  { title: 'VERSION', text: ({ mapVersion }) => String(mapVersion), align: 'right' },
  { title: 'EXPIRES', text: ({ expiresInMs }) => formatDuration(expiresInMs), align: 'right' },
]

const describedEidColumns: readonly Column<Static<typeof DescribedEidView>>[] = [
  { title: 'EID', text: ({ eid }) => eid },
  { title: 'SITE', text: ({ site }) => site },
  { title: 'OWNER', text: ({ owner }) => owner },
  {
    title: 'LOCATORS',
    text: ({ locators, otherLocators }) =>
      [...(locators.length > 0 ? [formatLocators(locators)] : []), ...otherLocators].join('\n') ||
      '-',
  },
  { title: 'EXPIRES', text: ({ expiresInMs }) => formatDuration(expiresInMs), align: 'right' },
]

const siteColumns: readonly Column<Static<typeof SiteView>>[] = [
  { title: 'SITE', text: ({ name }) => name },
  {
    title: 'PREFIXES',
    text: ({ prefixes }) =>
      prefixes
        .map(({ prefix, instanceId, acceptMoreSpecifics }) => {
          const text = formatPrefix({ eidPrefix: prefix, instanceId })
          return acceptMoreSpecifics ? `${text} and more specific` : text
        })
        .join('\n'),
  },
  { title: 'REGISTRATIONS', text: ({ registrations }) => String(registrations), align: 'right' },
]

const subscriptionColumns: readonly Column<Static<typeof SubscriptionView>>[] = [
  { title: 'EID-PREFIX', text: formatPrefix },
  { title: 'SIDE', text: ({ side }) => side },
  { title: 'XTR-ID', text: ({ xtrId }) => xtrId },
  { title: 'ITR-RLOCS', text: ({ itrRlocs }) => itrRlocs.join('\n') },
  { title: 'COVERS', text: ({ coverage }) => coverage },
  { title: 'STATE', text: ({ state, upToDate }) => (upToDate ? state : `${state}, not told`) },
  { title: 'EXPIRES', text: ({ expiresInMs }) => formatDuration(expiresInMs), align: 'right' },
]

const locatorColumns: readonly Column<Static<typeof LocatorStateView>>[] = [
  { title: 'RLOC', text: ({ rloc }) => rloc },
  { title: 'STATE', text: ({ reachable }) => (reachable ? 'up' : 'down') },
  { title: 'PROBED', text: ({ probing }) => (probing ? 'yes' : 'no') },
  { title: 'ROUND-TRIP', text: ({ roundTripMs }) => formatDuration(roundTripMs), align: 'right' },
  {
    title: 'LAST-REPLY',
    text: ({ lastReplyAgoMs }) =>
      lastReplyAgoMs === undefined ? 'never' : `${formatDuration(lastReplyAgoMs)} ago`,
    align: 'right',
  },
  { title: 'LOSS', text: ({ lossPercent }) => `${lossPercent}%`, align: 'right' },
  { title: 'PATH-MTU', text: ({ pathMtu }) => String(pathMtu ?? '-'), align: 'right' },
]

const moveColumns: readonly Column<MoveEntryView>[] = [
  { title: 'MOVE', text: ({ moveId }) => moveId },
  { title: 'STATE', text: ({ state, reason }) => (reason ? `${state}: ${reason}` : state) },
  { title: 'TRIGGER', text: ({ trigger }) => trigger },
  { title: 'EIDS', text: ({ eids }) => eids.join('\n') },
  { title: 'FROM', text: ({ source }) => source ?? '-' },
  { title: 'TO', text: ({ destination }) => destination },
  { title: 'AGE', text: ({ timeline }) => formatDuration(timeline[0]?.agoMs), align: 'right' },
  { title: 'TOOK', text: (move) => formatDuration(tookMs(move)), align: 'right' },
]

export const showCommands: readonly CliCommand[] = [
  tableCommand('map-cache', 'mappings the ITR has learned', 'mapCache', mapCacheColumns, SELECTION),
  tableCommand(
    'mapping-database',
    'EID-prefixes and dynamic EIDs of this site',
    'mappingDatabase',
    mappingDatabaseColumns,
    SELECTION,
  ),
  tableCommand(
    'registrations',
    'what is registered with the Map-Server',
    'registrations',
    registrationColumns,
    SELECTION,
  ),
  tableCommand(
    'described-eids',
    'names and places that are registered with the Map-Server (RFC 9735, RFC 10040)',
    'describedEids',
    describedEidColumns,
    PAGING,
  ),
  tableCommand('sites', 'sites of the Map-Server', 'sites', siteColumns),
  tableCommand(
    'subscriptions',
    'who is told of changes (RFC 9437)',
    'subscriptions',
    subscriptionColumns,
    SELECTION,
  ),
  showMulticastCommand,
  tableCommand('locators', 'reachability of locators', 'locators', locatorColumns),
  {
    usage: 'show moves [move]',
    summary: 'moves, or the timeline of one',
    examples: ['godwit show moves', 'godwit show moves 0000000100000abc'],
    run: showMoves,
  },
  {
    usage: 'show counters',
    summary: 'packets handled by the datapath, by what happened to them',
    run: showCounters,
  },
  {
    usage: 'show drops',
    summary: 'packets dropped by the datapath, by reason',
    options: [['--all', 'also the reasons that never occurred']],
    run: showDrops,
  },
  { usage: 'show node', summary: 'identity, addresses and table sizes', run: showNode },
]

/** A command that prints one table of the API; `key` is both its path and its JSON member. */
function tableCommand<Row>(
  name: string,
  summary: string,
  key: string,
  columns: readonly Column<Row>[],
  options: readonly (readonly [string, string])[] = [],
): CliCommand {
  const isSelectable = options === SELECTION
  return {
    usage: `show ${name}`,
    summary,
    options,
    ...(isSelectable ? { examples: [`godwit show ${name} --eid 10.1.0.5 --instance-id 7`] } : {}),
    async run(context) {
      const query = queryString({
        eid: textOption(context, 'eid'),
        instanceId: numberOption(context, 'instanceId'),
        limit: numberOption(context, 'limit'),
        after: textOption(context, 'after'),
      })
      const answer = await context.client().get<Record<string, unknown>>(`/v1/${name}${query}`)
      if (context.json) return printJson(context, answer)
      const rows = answer[key] as readonly Row[]
      context.print(formatTable(columns, rows, EMPTY[name] ?? 'nothing', context.colour))
      const { total, next } = answer
      if (typeof next === 'string')
        context.print(
          `… of ${total} in all: --after '${next}'${isSelectable ? ', or narrow with --eid' : ''}`,
        )
    },
  }
}

async function showMoves(context: CommandContext): Promise<void> {
  const [moveId] = context.arguments
  if (typeof moveId === 'string') {
    const path = `/v1/moves/${encodeURIComponent(moveId)}`
    const move = await context.client().get<MoveEntryView>(path)
    return context.json ? printJson(context, move) : context.print(formatMove(move, context.colour))
  }
  const answer = await context.client().get<{ moves: MoveEntryView[] }>('/v1/moves')
  if (context.json) return printJson(context, answer)
  context.print(formatTable(moveColumns, answer.moves, 'no moves yet', context.colour))
}

async function showCounters(context: CommandContext): Promise<void> {
  const { datapath } = await context.client().get<NodeInformation>('/v1/node')
  if (context.json) return printJson(context, datapath ?? null)
  if (datapath === undefined) return context.print(NO_DATAPATH)
  const { tallies, hold } = datapath
  const rows: [string, number][] = [
    ...Object.entries(tallies),
    ['held now', hold.packets],
    ['held now, bytes', hold.bytes],
    ['held in all', hold.heldTotal],
    ['released in order', hold.releasedTotal],
    ...Object.entries(hold.dropped).map(([reason, count]): [string, number] => [
      `given up: ${reason}`,
      count,
    ]),
  ]
  const columns: Column<[string, number]>[] = [
    { title: 'PACKETS', text: ([, count]) => String(count), align: 'right' },
    { title: 'WHAT', text: ([name]) => name },
  ]
  context.print(formatTable(columns, rows, 'nothing counted', context.colour))
}

async function showDrops(context: CommandContext): Promise<void> {
  const { datapath, groupPackets } = await context.client().get<NodeInformation>('/v1/node')
  // Of IGMP, MLD, PIM and joins between xTRs; how long they were is not counted.
  const control = Object.entries(groupPackets?.drops ?? {}).map(
    ([reason, packets]): [string, Drop] => [`group control: ${reason}`, { packets }],
  )
  if (context.json) {
    const drops = datapath && { ...datapath.drops, ...Object.fromEntries(control) }
    return printJson(context, drops ?? null)
  }
  if (datapath === undefined) return context.print(NO_DATAPATH)
  const all = context.options['all'] === true
  const counted: [string, Drop][] = [...Object.entries(datapath.drops), ...control]
  const rows = counted.filter(([, drop]) => all || drop.packets > 0)
  const columns: Column<[string, Drop]>[] = [
    { title: 'REASON', text: ([reason]) => reason },
    { title: 'PACKETS', text: ([, drop]) => String(drop.packets), align: 'right' },
    { title: 'BYTES', text: ([, drop]) => String(drop.bytes ?? '-'), align: 'right' },
  ]
  context.print(formatTable(columns, rows, 'nothing dropped', context.colour))
}

interface Drop {
  readonly packets: number
  readonly bytes?: number
}

async function showNode(context: CommandContext): Promise<void> {
  const node = await context.client().get<NodeInformation>('/v1/node')
  if (context.json) return printJson(context, node)
  const list = (items: readonly string[]): string => items.join(', ') || '-'
  const lines: [string, string][] = [
    ['node', `${node.node} (${list(node.roles)})`],
    ['version', node.version],
    ['up', `${formatDuration(node.uptimeSeconds * 1000)}, process ${node.processId}`],
    ...node.problems.map((problem): [string, string] => ['PROBLEM', problem]),
    ['RLOCs', list(node.rlocs.map((rloc) => `${rloc.address} on ${rloc.interface}`))],
    [
      'site interfaces',
      list(node.siteInterfaces.map(({ name, instanceId }) => `${name} [${instanceId}]`)),
    ],
    ['Map-Servers', list(node.mapServers)],
    ['Map-Resolvers', list(node.mapResolvers)],
    ['entries', list(Object.entries(node.entries).map(([name, count]) => `${name} ${count}`))],
  ]
  for (const [name, text] of lines) {
    context.print(`${coloured(context.colour, 'bold', name.padEnd(15))}  ${text}`)
  }
}

function printJson(context: CommandContext, value: unknown): void {
  context.print(JSON.stringify(value, null, 2))
}

/** From request to the end, or undefined while it is under way. */
function tookMs({ timeline }: MoveEntryView): number | undefined {
  const last = timeline.at(-1)
  const finished = last?.stage === 'converged' || last?.stage === 'failed'
  return finished ? (timeline[0]?.agoMs ?? 0) - last.agoMs : undefined
}

const EMPTY: Readonly<Record<string, string>> = {
  'map-cache': 'no mappings',
  'mapping-database': 'no EID-prefixes',
  registrations: 'no registrations (they are at the Map-Server)',
  'described-eids': 'no names or places (they are at the Map-Server)',
  sites: 'no sites (they are at the Map-Server)',
  subscriptions: 'no subscriptions',
  locators: 'no locators',
}

const NO_DATAPATH = 'this node has no datapath (datapath.kind: none)'
