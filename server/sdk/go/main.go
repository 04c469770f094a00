// Puts, reads and subscribes with the SDK for Go.
//
//	go run . ENDPOINT
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const (
	stream  = "go-records"
	shard   = "shardId-000000000000"
	records = 2_000
	live    = 20
)

func check(is bool, format string, arguments ...any) {
	if !is {
		panic(fmt.Sprintf(format, arguments...))
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

// Bytes of every value and of every length up to 1,000.
func dataOf(number int) []byte {
	data := make([]byte, 1+number%1000)
	for at := range data {
		data[at] = byte(number*31 + at*7)
	}
	return data
}

func keyOf(number int) string { return fmt.Sprintf("key-%d", number) }

type run struct {
	ctx     context.Context
	client  *kinesis.Client
	numbers []string
}

func (r *run) put() {
	for first := 0; first < records; first += 500 {
		var entries []types.PutRecordsRequestEntry
		for number := first; number < first+500; number++ {
			entries = append(entries, types.PutRecordsRequestEntry{Data: dataOf(number), PartitionKey: aws.String(keyOf(number))})
		}
		answer := must(r.client.PutRecords(r.ctx, &kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries}))
		check(*answer.FailedRecordCount == 0, "%d records failed", *answer.FailedRecordCount)
		for _, record := range answer.Records {
			r.numbers = append(r.numbers, *record.SequenceNumber)
		}
	}
}

func (r *run) same(record types.Record, at int) {
	check(at < len(r.numbers) && *record.SequenceNumber == r.numbers[at], "record %d: %s", at, *record.SequenceNumber)
	check(*record.PartitionKey == keyOf(at) && bytes.Equal(record.Data, dataOf(at)), "record %d differs", at)
	check(time.Since(*record.ApproximateArrivalTimestamp).Abs() < 10*time.Minute, "%v", record.ApproximateArrivalTimestamp)
}

// Each record once, unchanged, in order. Behind the end of a closed shard there is no iterator, but its children.
func (r *run) read() *kinesis.GetRecordsOutput {
	begin := must(r.client.GetShardIterator(r.ctx, &kinesis.GetShardIteratorInput{
		StreamName: aws.String(stream), ShardId: aws.String(shard), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	}))
	iterator, at := begin.ShardIterator, 0
	for {
		answer := must(r.client.GetRecords(r.ctx, &kinesis.GetRecordsInput{ShardIterator: iterator, Limit: aws.Int32(777)}))
		for _, record := range answer.Records {
			r.same(record, at)
			at++
		}
		iterator = answer.NextShardIterator
		if iterator == nil || (*answer.MillisBehindLatest == 0 && at == len(r.numbers)) {
			check(at == len(r.numbers), "%d of %d records", at, len(r.numbers))
			return answer
		}
	}
}

// What there is, then what comes, then the end where the shard was split.
func (r *run) subscribe(consumer *string) {
	input := &kinesis.SubscribeToShardInput{
		ConsumerARN: consumer, ShardId: aws.String(shard),
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	}
	events := must(r.client.SubscribeToShard(r.ctx, input)).GetStream()
	defer events.Close()
	_, err := r.client.SubscribeToShard(r.ctx, input)
	var inUse *types.ResourceInUseException
	check(errors.As(err, &inUse), "a second subscription within five seconds: %v", err)
	at, silent := 0, false
	var children []types.ChildShard
	for event := range events.Events() {
		said := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
		check(children == nil, "something follows the end")
		for _, record := range said.Records {
			r.same(record, at)
			at++
		}
		children = said.ChildShards
		if at == records && len(r.numbers) == records {
			for number := records; number < records+live; number++ {
				answer := must(r.client.PutRecord(r.ctx, &kinesis.PutRecordInput{
					StreamName: aws.String(stream), Data: dataOf(number), PartitionKey: aws.String(keyOf(number)),
				}))
				r.numbers = append(r.numbers, *answer.SequenceNumber)
			}
		}
		// A sign of life, after which the shard is split.
		if at == records+live && len(said.Records) == 0 && !silent {
			silent = true
			must(r.client.SplitShard(r.ctx, &kinesis.SplitShardInput{
				StreamName: aws.String(stream), ShardToSplit: aws.String(shard), NewStartingHashKey: aws.String("7"),
			}))
		}
	}
	check(events.Err() == nil, "%v", events.Err())
	check(at == records+live && len(children) == 2, "%d records, children %v", at, children)
	for _, child := range children {
		check(len(child.ParentShards) == 1 && child.ParentShards[0] == shard, "%v", child)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client := kinesis.New(kinesis.Options{
		BaseEndpoint: aws.String(os.Args[1]), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
	r := &run{ctx: ctx, client: client}
	must(client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(stream), ShardCount: aws.Int32(1)}))
	r.put()
	check(r.read().NextShardIterator != nil, "an open shard goes on")
	summary := must(client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)}))
	registered := must(client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{
		StreamARN: summary.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("go"),
	}))
	r.subscribe(registered.Consumer.ConsumerARN)
	end := r.read()
	check(end.NextShardIterator == nil && len(end.ChildShards) == 2, "the end: %v", end.ChildShards)
	_, err := client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("nowhere")})
	var notFound *types.ResourceNotFoundException
	check(errors.As(err, &notFound), "%v", err)
	fmt.Printf("go: put %d records, read and was pushed each once, in order, unchanged\n", records+live)
}
