/**
 * The process that attaches the counting sink: run inside host B's namespace, because a program
 * attaches to interfaces of its own namespace only. Ends at once; the link stays, pinned.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { loadNativeAddon } from '../src/datapath/native-addon.js'

const [pinDirectory = '', port = ''] = process.argv.slice(2)
mkdirSync(pinDirectory, { recursive: true })
const { stdout } = spawnSync('ip', ['-j', 'link', 'show', 'dev', 'eth0'], { encoding: 'utf8' })
const [link] = JSON.parse(stdout) as { ifindex: number }[]
const addon = loadNativeAddon()
const object = addon.openObject('sink', { pinDirectory, rodata: { sink_port: Number(port) } })
addon.attach(object, 'counting_sink', link!.ifindex, 'ingress')
addon.closeObject(object)
