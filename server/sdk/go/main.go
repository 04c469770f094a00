// The SDK for Go, over HTTP/2, which the standard library is told to speak without TLS; and over HTTP/1.1 as it comes.
//
//	go-sdk ENDPOINT
//
// Over HTTP/1.1 only what may be asked again: the SDK sometimes closes a connection whose answer it still reads, where the
// answer came quickly, and asks again (its issue 2737; here one request in some hundred).
//
// Each check is named after what the API's reference says of the operations that it names, or the SDK expects. Those of SubscribeToShard
// wait five seconds for a sign of life: that there are some is documented (ContinuationSequenceNumber), how often is not. By hash key:
// ExplicitHashKey of PutRecord.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const (
	records = 2_000
	live    = 20
)

var (
	stream = aws.String("go-records")
	shard  = aws.String("shardId-000000000000")
	middle = new(big.Int).Lsh(big.NewInt(1), 127)
)

// need ends the check, and with it the program, unless it holds.
func need(holds bool, format string, arguments ...any) {
	if !holds {
		panic(fmt.Sprintf(format, arguments...))
	}
}

func must[T any](value T, err error) T {
	need(err == nil, "%v", err)
	return value
}

func check(behaviour string, run func()) {
	defer func() {
		if why := recover(); why != nil {
			fmt.Fprintf(os.Stderr, "go: FAILED: %s\n%v\n", behaviour, why)
			os.Exit(1)
		}
	}()
	run()
	fmt.Println("go: " + behaviour)
}

// dataOf gives bytes of every value and of every length up to 1,000.
func dataOf(number int) []byte {
	data := make([]byte, 1+number%1000)
	for at := range data {
		data[at] = byte(number*31 + at*7)
	}
	return data
}

func keyOf(number int) *string {
	if number%7 == 0 {
		return aws.String(fmt.Sprintf("ключ-%d", number))
	}
	return aws.String(fmt.Sprintf("key-%d", number))
}

// refused tells that the call failed with this error of the API, which has an identifier to ask about.
func refused[E error](_ any, err error) {
	var typed E
	need(errors.As(err, &typed), "not a %T: %v", typed, err)
	var response interface{ ServiceRequestID() string }
	need(errors.As(err, &response) && response.ServiceRequestID() != "", "no request identifier: %v", err)
}

// suite is one run of the program. The numbers are of what was put, in its order: all in the shard that is split later.
type suite struct {
	ctx                 context.Context
	client              *kinesis.Client
	numbers             []string
	streamARN, consumer *string
	first, second       *kinesis.SubscribeToShardEventStream
	continued           *string
	children            []types.ChildShard
}

func (s *suite) putMore(count int) {
	for ; count > 0; count-- {
		number := len(s.numbers)
		put := must(s.client.PutRecord(s.ctx, &kinesis.PutRecordInput{
			StreamName: stream, Data: dataOf(number), PartitionKey: keyOf(number),
		}))
		need(*put.ShardId == *shard, "record %d is in %s", number, *put.ShardId)
		s.numbers = append(s.numbers, *put.SequenceNumber)
	}
}

// same tells that these are the records from `at` on, and gives the number after them.
func (s *suite) same(found []types.Record, at int) int {
	for _, record := range found {
		need(at < len(s.numbers) && *record.SequenceNumber == s.numbers[at], "record %d: %s", at, *record.SequenceNumber)
		need(*record.PartitionKey == *keyOf(at) && bytes.Equal(record.Data, dataOf(at)), "record %d differs", at)
		arrived := *record.ApproximateArrivalTimestamp
		need(time.Since(arrived).Abs() < 10*time.Minute, "record %d arrived at %v", at, arrived)
		at++
	}
	return at
}

// read gives all records of a shard up to its tip or its end, and the last answer.
func (s *suite) read(shard *string) ([]types.Record, *kinesis.GetRecordsOutput) {
	begin := must(s.client.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{
		StreamName: stream, ShardId: shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	}))
	var found []types.Record
	for iterator := begin.ShardIterator; ; {
		answer := must(s.client.GetRecords(s.ctx, &kinesis.GetRecordsInput{ShardIterator: iterator, Limit: aws.Int32(777)}))
		found = append(found, answer.Records...)
		iterator = answer.NextShardIterator
		if iterator == nil || *answer.MillisBehindLatest == 0 {
			return found, answer
		}
	}
}

func (s *suite) subscription(from types.StartingPosition) (*kinesis.SubscribeToShardOutput, error) {
	return s.client.SubscribeToShard(s.ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: s.consumer, ShardId: shard, StartingPosition: &from,
	})
}

// next gives the next event, or nil at the end.
func next(events *kinesis.SubscribeToShardEventStream) *types.SubscribeToShardEvent {
	event, more := <-events.Events()
	if !more {
		return nil
	}
	return &event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
}

func childrenAreTold(children []types.ChildShard) {
	end := new(big.Int).Sub(new(big.Int).Lsh(middle, 1), big.NewInt(1))
	spans := [][2]string{{"0", new(big.Int).Sub(middle, big.NewInt(1)).String()}, {middle.String(), end.String()}}
	need(len(children) == 2, "%d children", len(children))
	for at, child := range children {
		span := [2]string{*child.HashKeyRange.StartingHashKey, *child.HashKeyRange.EndingHashKey}
		need(span == spans[at], "child %d has %v", at, span)
		need(len(child.ParentShards) == 1 && child.ParentShards[0] == *shard, "child %d is of %v", at, child.ParentShards)
	}
}

func (s *suite) create() {
	input := &kinesis.CreateStreamInput{StreamName: stream, ShardCount: aws.Int32(1)}
	created := must(s.client.CreateStream(s.ctx, input))
	identifier, told := middleware.GetRequestIDMetadata(created.ResultMetadata)
	need(told && identifier != "", "an answer has an identifier")
	described := must(s.client.DescribeStreamSummary(s.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: stream}))
	summary := described.StreamDescriptionSummary
	need(summary.StreamStatus == types.StreamStatusActive && *summary.OpenShardCount == 1, "%+v", summary)
	s.streamARN = summary.StreamARN
	refused[*types.ResourceInUseException](s.client.CreateStream(s.ctx, input))
}

func (s *suite) put() {
	for first := 0; first < records; first += 500 {
		var entries []types.PutRecordsRequestEntry
		for number := first; number < first+500; number++ {
			entries = append(entries, types.PutRecordsRequestEntry{Data: dataOf(number), PartitionKey: keyOf(number)})
		}
		answer := must(s.client.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: stream, Records: entries}))
		need(*answer.FailedRecordCount == 0 && len(answer.Records) == 500, "%d failed", *answer.FailedRecordCount)
		for _, record := range answer.Records {
			s.numbers = append(s.numbers, *record.SequenceNumber)
		}
	}
	s.putMore(1)
}

func (s *suite) readOpen() {
	found, last := s.read(shard)
	need(s.same(found, 0) == len(s.numbers), "%d of %d records", len(found), len(s.numbers))
	need(last.NextShardIterator != nil && last.ChildShards == nil, "an open shard has no end")
}

func (s *suite) register() {
	input := &kinesis.RegisterStreamConsumerInput{StreamARN: s.streamARN, ConsumerName: aws.String("go")}
	s.consumer = must(s.client.RegisterStreamConsumer(s.ctx, input)).Consumer.ConsumerARN
	shape := regexp.MustCompile("^" + regexp.QuoteMeta(*s.streamARN) + `/consumer/go:\d+$`)
	need(shape.MatchString(*s.consumer), "%s", *s.consumer)
	described := must(s.client.DescribeStreamConsumer(s.ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: s.consumer}))
	need(described.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive, "%+v", described.ConsumerDescription)
	refused[*types.ResourceInUseException](s.client.RegisterStreamConsumer(s.ctx, input))
}

func (s *suite) pushed() {
	s.first = must(s.subscription(types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon})).GetStream()
	put := false
	for at := 0; at < records+1+live; {
		event := next(s.first)
		need(event != nil, "ended after %d records: %v", at, s.first.Err())
		need(event.ContinuationSequenceNumber != nil && event.ChildShards == nil, "an open shard has no end")
		at = s.same(event.Records, at)
		if at == len(s.numbers) && !put {
			put = true
			s.putMore(live)
		}
	}
}

func (s *suite) heartbeat() {
	event := next(s.first)
	need(event != nil, "ended: %v", s.first.Err())
	need(len(event.Records) == 0 && *event.MillisBehindLatest == 0, "%+v", event)
	s.continued = event.ContinuationSequenceNumber
}

func (s *suite) takeOver() {
	s.second = must(s.subscription(types.StartingPosition{
		Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: s.continued,
	})).GetStream()
	for next(s.first) != nil {
	}
	var inUse *types.ResourceInUseException
	need(errors.As(s.first.Err(), &inUse), "%v", s.first.Err())
}

func (s *suite) split() {
	at := len(s.numbers)
	s.putMore(live)
	must(s.client.SplitShard(s.ctx, &kinesis.SplitShardInput{
		StreamName: stream, ShardToSplit: shard, NewStartingHashKey: aws.String(middle.String()),
	}))
	for event := next(s.second); event != nil; event = next(s.second) {
		need(s.children == nil, "something follows the end")
		at = s.same(event.Records, at)
		s.children = event.ChildShards
		need((event.ContinuationSequenceNumber == nil) == (s.children != nil), "%+v", event)
	}
	need(s.second.Err() == nil, "%v", s.second.Err())
	need(at == len(s.numbers), "%d of %d records", at, len(s.numbers))
	childrenAreTold(s.children)
}

func (s *suite) readClosed() {
	found, last := s.read(shard)
	need(s.same(found, 0) == len(s.numbers), "%d of %d records", len(found), len(s.numbers))
	need(last.NextShardIterator == nil, "a closed shard ends")
	childrenAreTold(last.ChildShards)
}

func (s *suite) list() {
	filter := &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}
	open := must(s.client.ListShards(s.ctx, &kinesis.ListShardsInput{StreamARN: s.streamARN, ShardFilter: filter})).Shards
	need(len(open) == 2, "%d shards are open", len(open))
	for at, child := range open {
		need(*child.ShardId == *s.children[at].ShardId && *child.ParentShardId == *shard, "%+v", child)
	}
	all := must(s.client.ListShards(s.ctx, &kinesis.ListShardsInput{StreamName: stream})).Shards
	need(len(all) == 3, "%d shards", len(all))
	for at, one := range all {
		need((one.SequenceNumberRange.EndingSequenceNumber != nil) == (at == 0), "%+v", one)
	}
}

func (s *suite) readChildren() {
	for at, hashKey := range []string{"0", middle.String()} {
		put := must(s.client.PutRecord(s.ctx, &kinesis.PutRecordInput{
			StreamName: stream, Data: dataOf(at), PartitionKey: aws.String("k"), ExplicitHashKey: &hashKey,
		}))
		need(*put.ShardId == *s.children[at].ShardId, "hash key %s went to %s", hashKey, *put.ShardId)
		found, _ := s.read(put.ShardId)
		need(len(found) == 1 && *found[0].SequenceNumber == *put.SequenceNumber, "%d records", len(found))
	}
}

func (s *suite) errors() {
	nowhere := &kinesis.PutRecordInput{StreamName: aws.String("nowhere"), Data: []byte("x"), PartitionKey: aws.String("k")}
	refused[*types.ResourceNotFoundException](s.client.PutRecord(s.ctx, nowhere))
	refused[*types.ResourceNotFoundException](s.client.SubscribeToShard(s.ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: aws.String(*s.streamARN + "/consumer/nobody:1"), ShardId: shard,
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest},
	}))
	spaced := &kinesis.CreateStreamInput{StreamName: aws.String("no spaces"), ShardCount: aws.Int32(1)}
	refused[*types.ValidationException](s.client.CreateStream(s.ctx, spaced))
	outside := &kinesis.PutRecordInput{StreamName: stream, Data: []byte("x"), PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("444444444444444444444444444444444444444")}
	refused[*types.InvalidArgumentException](s.client.PutRecord(s.ctx, outside))
	iterator := &kinesis.GetRecordsInput{ShardIterator: aws.String("AAAAAAAAAAE=")}
	refused[*types.InvalidArgumentException](s.client.GetRecords(s.ctx, iterator))
	refused[*types.InvalidArgumentException](s.client.SplitShard(s.ctx, &kinesis.SplitShardInput{
		StreamName: stream, ShardToSplit: shard, NewStartingHashKey: aws.String(middle.String()),
	}))
}

func (s *suite) deregister() {
	must(s.client.DeregisterStreamConsumer(s.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: s.consumer}))
	described, err := s.client.DescribeStreamConsumer(s.ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: s.consumer})
	refused[*types.ResourceNotFoundException](described, err)
}

// over gives a client that speaks this over one kind of HTTP.
func over(endpoint string, http2 bool, attempts int) *kinesis.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return kinesis.New(kinesis.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", RetryMaxAttempts: attempts,
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(transport *http.Transport) {
			transport.Protocols = &protocols
		}),
	})
}

func main() {
	s := &suite{ctx: context.Background(), client: over(os.Args[1], true, 1)}
	check("CreateStream makes a stream, which DescribeStreamSummary tells ACTIVE, and has no second of its name", s.create)
	check("PutRecords answers entry for entry, PutRecord with where the record is", s.put)
	check("GetRecords gives each record once, unchanged, in order; an open shard's iterator goes on", s.readOpen)
	check("RegisterStreamConsumer's consumer becomes ACTIVE, and there is no second of its name", s.register)
	check("SubscribeToShard pushes what there is, then what is put meanwhile, in order", s.pushed)
	check("SubscribeToShard within five seconds of another of the consumer is a ResourceInUseException", func() {
		refused[*types.ResourceInUseException](s.subscription(types.StartingPosition{Type: types.ShardIteratorTypeLatest}))
	})
	check("SubscribeToShard says something every five seconds, where to go on among it", s.heartbeat)
	check("SubscribeToShard after five seconds takes over; the one before fails with ResourceInUseException", s.takeOver)
	check("SubscribeToShard ends where the shard was split: ChildShards, and no ContinuationSequenceNumber", s.split)
	check("GetRecords behind a closed shard's last record gives ChildShards and no iterator", s.readClosed)
	check("ListShards tells both children and their parent, whose sequence numbers have an end now", s.list)
	check("records put after the split are in the children, by hash key", s.readChildren)
	check("errors come by type: what is not there, what is not allowed, what is no iterator", s.errors)
	check("DeregisterStreamConsumer: the consumer is gone", s.deregister)
	check("GetRecords over HTTP/1.1 gives the same", func() {
		s.client = over(os.Args[1], false, 5)
		s.readClosed()
	})
}
