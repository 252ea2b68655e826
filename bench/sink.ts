/**
 * The process that attaches the counting sink to the interfaces named: run inside the namespace of who
 * receives, because a program attaches to interfaces of its own namespace only. Ends at once; the
 * link stays, pinned.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { loadNativeAddon } from '../src/datapath/native-addon.js'

const [pinDirectory = '', port = '', ...names] = process.argv.slice(2)
mkdirSync(pinDirectory, { recursive: true })
const addon = loadNativeAddon()
const object = addon.openObject('sink', { pinDirectory, rodata: { sink_port: Number(port) } })
for (const name of names) addon.attach(object, 'counting_sink', indexOf(name), 'ingress')
addon.closeObject(object)

function indexOf(name: string): number {
  const { stdout } = spawnSync('ip', ['-j', 'link', 'show', 'dev', name], { encoding: 'utf8' })
  const [link] = JSON.parse(stdout) as { ifindex: number }[]
  return link!.ifindex
}
