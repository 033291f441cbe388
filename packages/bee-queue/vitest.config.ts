import { beeOn } from '../../vitest.legs.js'

const { HOLDFAST_TEST_DB: db = 'postgres', HOLDFAST_TEST_BEE_QUEUE } = process.env

export default beeOn({ db, bee: HOLDFAST_TEST_BEE_QUEUE === 'bee-queue-1' ? '1.7.1' : '2.0.0' })
