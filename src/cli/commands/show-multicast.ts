/**
 * `godwit show multicast`: groups, the segments and listeners behind them, and the routers that speak PIM.
 */
import type { Static } from 'typebox'
import type {
  ListenerView,
  MulticastGroupView,
  NodeInformation,
  PimLinkView,
  SegmentView,
} from '../../api/views.js'
import { type Column, formatDuration, formatTable } from '../columns.js'
import {
  type CliCommand,
  type CommandContext,
  numberOption,
  queryString,
  textOption,
} from '../command.js'

const SELECTION = [
  ['--instance-id <number>', 'only this instance-ID'],
  ['--limit <number>', 'at most so many (default 1000)'],
  ['--after <group>', 'only what comes after this group'],
] as const

const groupColumns: readonly Column<Static<typeof MulticastGroupView>>[] = [
  { title: 'GROUP', text: ({ group }) => group },
  { title: 'SIDE', text: ({ side, level }) => (level > 0 ? `${side} ${level}` : side) },
  { title: 'LISTENERS', text: ({ listeners }) => String(listeners), align: 'right' },
  { title: 'INTERFACES', text: ({ interfaces }) => interfaces.join('\n') },
  { title: 'STATE', text: stateOfGroup },
  { title: 'COPIES TO', text: ({ copies }) => copies.join('\n') },
  { title: 'MEMBERS', text: ({ members }) => String(members), align: 'right' },
  { title: 'PACKETS', text: ({ counters }) => String(counters?.packets ?? '-'), align: 'right' },
]

function stateOfGroup({ registered, followed }: Static<typeof MulticastGroupView>): string {
  const words = [registered ? 'registered' : '', followed ? 'followed' : '']
  return words.filter((one) => one !== '').join(', ')
}

const listenerColumns: readonly Column<Static<typeof ListenerView>>[] = [
  { title: 'INTERFACE', text: ({ interfaceName }) => interfaceName },
  { title: 'GROUP', text: ({ group }) => group },
  {
    title: 'SOURCES',
    text: ({ mode, sources, excluded }) =>
      mode === 'include'
        ? sources.join('\n')
        : ['any', ...excluded.map((one) => `not ${one}`)].join('\n'),
  },
  { title: 'HOSTS', text: ({ hosts }) => (hosts.length === 0 ? 'not known' : hosts.join('\n')) },
  { title: 'VERSION', text: ({ version }) => String(version), align: 'right' },
  { title: 'EXPIRES', text: ({ expiresInMs }) => formatDuration(expiresInMs), align: 'right' },
]

const segmentColumns: readonly Column<Static<typeof SegmentView>>[] = [
  { title: 'INTERFACE', text: ({ interfaceName }) => interfaceName },
  {
    title: 'PROTOCOL',
    text: ({ family, version }) => (family === 4 ? `IGMPv${version}` : `MLDv${version}`),
  },
  {
    title: 'QUERIER',
    text: ({ querier = 'none', isQuerier }) => (isQuerier ? `${querier} (us)` : querier),
  },
  { title: 'GROUPS', text: ({ groups }) => String(groups), align: 'right' },
  { title: 'HOSTS', text: ({ hosts }) => String(hosts), align: 'right' },
  { title: 'REFUSED', text: ({ refused }) => String(refused), align: 'right' },
  { title: 'IGNORED', text: ({ ignored }) => String(ignored), align: 'right' },
]

const routerColumns: readonly Column<Static<typeof PimLinkView>>[] = [
  { title: 'LINK', text: ({ interfaceName, family }) => `${interfaceName} (IPv${family})` },
  { title: 'PIM ROUTERS', text: ({ neighbours }) => neighbours.join('\n') || 'none' },
  {
    title: 'DESIGNATED',
    text: ({ designatedRouter, address }) =>
      designatedRouter === address ? `${address} (us)` : designatedRouter,
  },
  { title: 'JOINED BY THEM', text: ({ joinedByOthers }) => String(joinedByOthers), align: 'right' },
  { title: 'BY US', text: ({ joinedByUs }) => String(joinedByUs), align: 'right' },
]

/** What was taken, sent and dropped; what never happened is left out. */
const controlColumns: readonly Column<readonly [string, number]>[] = [
  { title: 'CONTROL PACKETS', text: ([name]) => name },
  { title: 'COUNT', text: ([, count]) => String(count), align: 'right' },
]

export const showMulticastCommand: CliCommand = {
  usage: 'show multicast',
  summary: 'multicast groups: listeners, copies, receiver sites (RFC 8378)',
  options: SELECTION,
  run: showMulticast,
}

async function showMulticast(context: CommandContext): Promise<void> {
  const query = queryString({
    instanceId: numberOption(context, 'instanceId'),
    limit: numberOption(context, 'limit'),
    after: textOption(context, 'after'),
  })
  const answer = await context.client().get<GroupsAnswer>(`/v1/multicast/groups${query}`)
  const { segments, listeners } = await context
    .client()
    .get<ListenersAnswer>('/v1/multicast/listeners')
  const { links } = await context.client().get<RoutersAnswer>('/v1/multicast/routers')
  const { groupPackets } = await context.client().get<NodeInformation>('/v1/node')
  const control = groupPackets === undefined ? {} : { control: groupPackets }
  if (context.json)
    return context.print(
      JSON.stringify({ ...answer, segments, listeners, routers: links, ...control }, null, 2),
    )
  const { groups, total, next } = answer
  context.print(formatTable(groupColumns, groups, 'no multicast groups', context.colour))
  if (next !== undefined) context.print(`… of ${total} in all: --after '${next}'`)
  printMore(context, segmentColumns, segments)
  printMore(context, listenerColumns, listeners)
  printMore(context, routerColumns, links)
  if (groupPackets === undefined) return
  const { packets, drops } = groupPackets
  const counted = Object.entries({ ...packets, ...drops }).filter(([, count]) => count > 0)
  printMore(context, controlColumns, counted)
}

/** A further table, where there is anything to say. */
function printMore<Row>(
  context: CommandContext,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): void {
  if (rows.length === 0) return
  context.print('')
  context.print(formatTable(columns, rows, '', context.colour))
}

interface RoutersAnswer {
  readonly links: readonly Static<typeof PimLinkView>[]
}

interface ListenersAnswer {
  readonly segments: readonly Static<typeof SegmentView>[]
  readonly listeners: readonly Static<typeof ListenerView>[]
}

interface GroupsAnswer {
  readonly total: number
  readonly next?: string
  readonly groups: readonly Static<typeof MulticastGroupView>[]
}
