import { createRequire } from 'node:module'
import type * as Bullmq from 'bullmq'

const require = createRequire(import.meta.url)

/** The package of the BullMQ that this run of the tests is on: HOLDFAST_TEST_BULLMQ. */
const installed = process.env.HOLDFAST_TEST_BULLMQ || 'bullmq'

export const bullmq: typeof Bullmq = require(installed)

export const bullmqVersion: string = require(`${installed}/package.json`).version

export const Redis: typeof import('ioredis').Redis = require('ioredis').Redis

export const connectionOf = (url: string): { host: string; port: number } => ({
  host: new URL(url).hostname,
  port: Number(new URL(url).port),
})
