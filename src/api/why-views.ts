/** The answer of `/v1/why`, as a TypeBox schema: one node's view of one EID. */
import type { Static } from 'typebox'
import { Type } from '../config/schema-builder.js'
import {
  EventView,
  LocatorStateView,
  MapCacheEntry,
  MappingDatabaseEntry,
  MoveEntry,
  RegistrationView,
} from './views.js'

export const WhyVerdict = Type.Object({
  code: Type.Enum([
    'delivered-here',
    'held-for-endpoint',
    'redirected',
    'encapsulated',
    'replicated',
    'native',
    'dropped',
    'asked-for',
    'registered',
    'not-registered',
    'no-packets',
  ]),
  text: Type.String({ description: 'For people: what happens to a packet to the EID here now' }),
})

export const WhyView = Type.Object({
  node: Type.String(),
  roles: Type.Array(Type.String()),
  rlocs: Type.Array(Type.String()),
  eid: Type.String({ description: 'Canonical text, as [7]10.1.0.5' }),
  from: Type.Optional(Type.String()),
  verdict: WhyVerdict,
  remarks: Type.Array(Type.String(), { description: 'What does not fit, or should be known' }),
  local: Type.Optional(MappingDatabaseEntry),
  mapCache: Type.Optional(MapCacheEntry),
  registrations: Type.Array(RegistrationView, { description: 'Of the longest registered prefix' }),
  locators: Type.Array(LocatorStateView, { description: 'Those that the entries name' }),
  datapath: Type.Optional(
    Type.Object({
      entries: Type.Array(
        Type.Object({
          table: Type.Enum(['map-cache', 'local-eid']),
          match: Type.Enum(['host', 'prefix']),
          form: Type.String(),
          rlocs: Type.Array(Type.String()),
        }),
        { description: 'Read from the tables that packets meet' },
      ),
      held: Type.Object(
        { packets: Type.Number(), bytes: Type.Number() },
        { description: 'What waits in the hold now, for all EIDs' },
      ),
    }),
  ),
  moves: Type.Array(MoveEntry, { description: 'The last ones of this EID, newest first' }),
  events: Type.Array(EventView, { description: 'The last ones about it, oldest first' }),
})

export type WhyAnswer = Static<typeof WhyView>
