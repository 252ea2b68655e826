/**
 * Who does not answer: Map-Resolvers that were asked for an EID, Map-Servers that were told of it.
 *
 * Read from the events about the EID, oldest first: a question counts as unanswered until an answer or the
 * end of asking comes after it. One lost datagram is no remark: two must have been.
 */
import type { Event } from '../control/event.js'
import type { LoggedEvent } from './event-log.js'

/** At most one sentence about requests, and one for each Map-Server. */
export function silenceRemarks(
  events: readonly LoggedEvent[],
  mapResolvers: readonly string[],
): string[] {
  return [...unansweredRequests(events, mapResolvers), ...unacknowledged(events)]
}

function unansweredRequests(
  events: readonly LoggedEvent[],
  mapResolvers: readonly string[],
): string[] {
  const last = events.findLast(({ event }) => REQUEST_EVENTS.includes(event.name))?.event
  const attempt = Number(last?.['attempt'])
  if (last?.name !== 'map-request-sent' || !(attempt >= 2)) return []
  const whom = mapResolvers.join(', ')
  return [`${whom} has not answered ${attempt} Map-Requests: is it reachable, does it run?`]
}

function unacknowledged(events: readonly LoggedEvent[]): string[] {
  const silent = new Map<string, Event>()
  for (const { event } of events) {
    if (event.name === 'registration-unacknowledged') silent.set(String(event['mapServer']), event)
    if (event.name === 'registration-acknowledged') silent.clear()
  }
  return [...silent].map(
    ([mapServer, { attempts }]) =>
      `Map-Server ${mapServer} has not acknowledged ${attempts} Map-Registers: ` +
      'is it reachable, has it the same key, and a site with this prefix?',
  )
}

const REQUEST_EVENTS: readonly string[] = [
  'map-request-sent',
  'map-reply-received',
  'resolution-failed',
  'mapping-installed',
]
